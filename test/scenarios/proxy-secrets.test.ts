import { createServer, type Server } from "node:net";
import { inspect } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { PromisedNetSockets } from "../fakes/client-library.js";
import { LOGIN, startRecordingProxy } from "../fakes/recording-proxy.js";
import { nameOf, rejection, stage, until } from "./support.js";

const SECRET = Buffer.alloc(16, 0xcd);
const WRONG = Buffer.alloc(16, 0xce);
/** The credentials of the proxies, right and wrong ones, in the forms in which they could be written. */
const CANARIES: readonly string[] = [
  LOGIN.username,
  LOGIN.password,
  "wrong-user-name",
  "wrong-password",
  ...[SECRET, WRONG].flatMap((secret) => [secret.toString("hex"), secret.toString("base64"), [...secret].join(", ")]),
  ...[SECRET, WRONG].map((secret) => secret.toString("base64url")),
  Buffer.from(`${LOGIN.username}:${LOGIN.password}`).toString("base64"),
  Buffer.from("wrong-user-name:wrong-password").toString("base64"),
];

/** A server that repeats whatever it is sent, as a proxy that puts the request into its error page does. */
async function startEcho(): Promise<number> {
  const server: Server = createServer((socket) => {
    socket.on("error", () => {}).on("data", (bytes) => socket.end(bytes));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => new Promise<void>((resolve) => server.close(() => resolve())));
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("The server has no port.");
  return address.port;
}

function formsOf(value: unknown): string {
  const views = [inspect(value, { depth: 12, showHidden: true, getters: true }), inspect(value), String(value)];
  try {
    views.push(JSON.stringify(value, (_, part: unknown) => (typeof part === "bigint" ? String(part) : part)) ?? "");
  } catch (error) {
    views.push(String(error));
  }
  return views.join("\n");
}

function expectNone(what: string, value: unknown): void {
  const text = formsOf(value);
  const found = CANARIES.filter((canary) => text.includes(canary));
  expect({ what, found }).toEqual({ what, found: [] });
}

const link = (port: number, secret: Buffer): string =>
  `tg://proxy?server=127.0.0.1&port=${port}&secret=${secret.toString("hex")}`;
const url = (scheme: string, port: number, login = `${LOGIN.username}:${LOGIN.password}`): string =>
  `${scheme}://${login}@127.0.0.1:${port}`;

test.each(["socks5", "socks4", "http", "mtproto"])(
  "credentials of a proxy (%s) - are in no event, error, log line, state or inspection, whether it works, refuses or echoes",
  async (kind) => {
    const { server, open, told } = await stage();
    const [session = ""] = server.sessions;
    const isMtproto = kind === "mtproto";
    const proxy = await startRecordingProxy(
      isMtproto ? { secret: SECRET, isFakeTls: false, portOf: () => server.port } : undefined,
    );
    const echo = await startEcho();
    const lines: unknown[] = [];
    const note = (...line: unknown[]) => void lines.push(line);
    const pool = await open({
      add: [],
      connectTimeoutMs: 1_000,
      traceLeases: true,
      logger: { debug: note, info: note, warn: note, error: note },
      client: { server: server.server, clientOptions: { networkSocket: PromisedNetSockets } },
    });
    const login = kind === "socks4" ? LOGIN.username : undefined;
    const wrongLogin = kind === "socks4" ? "wrong-user-name" : "wrong-user-name:wrong-password";
    const works = isMtproto ? link(proxy.port, SECRET) : url(kind, proxy.port, login);
    const fails = [
      isMtproto ? link(proxy.port, WRONG) : url(kind, proxy.port, wrongLogin),
      isMtproto ? link(echo, SECRET) : url(kind, echo, login),
    ];
    using metrics = pool.metrics();
    await pool.add("a", session, { profile: { proxy: works } });
    const lease = await pool.acquire({ id: "a" });
    expect(await nameOf(lease.client)).toBe("account1");
    expectNone("a lease and its client", { lease, client: lease.client, leases: pool.leases() });
    lease.release();
    for (const failing of fails) {
      await pool.update("a", { profile: { proxy: failing } });
      const error = await rejection(pool.use(nameOf, { id: "a" }));
      expect(error).toMatchObject({ code: "CONNECT_FAILED", message: expect.stringContaining("127.0.0.1:") });
      expectNone("the error", { error, cause: error.cause });
    }
    await until("it was reported", () => lines.length > 0);
    const invalid = works.replace(String(proxy.port), "99999");
    const refused = await rejection(pool.update("a", { profile: { proxy: invalid } }));
    expect(refused).toMatchObject({ code: "INVALID_OPTIONS" });
    expectNone("an OptionsError", refused);
    for (const [what, value] of Object.entries({ events: told, log: lines, pool, health: await pool.check("a") })) {
      expectNone(what, value);
    }
    expectNone("the state", { sessions: pool.sessions(), status: pool.status(), metrics: metrics.read() });
  },
);
