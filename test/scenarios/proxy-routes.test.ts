import { createHook } from "node:async_hooks";
import dns from "node:dns";
import { Socket } from "node:net";
import type { TelegramClient } from "telegram";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { parseSession } from "../../src/index.js";
import { AuthKey, CustomFile, libraryName, PromisedNetSockets, StringSession } from "../fakes/client-library.js";
import { LOGIN, type RecordingProxy, startRecordingProxy } from "../fakes/recording-proxy.js";
import { bigInt, CHUNK, CHUNKS, location, serveFile } from "./files.js";
import { nameOf, type OpenOptions, type Pool, rejection, type Stage, stage, until, within } from "./support.js";

const FAR = 4;
/** By what a session gets to the proxy. */
type Kind = "socks5" | "socks4" | "http" | "mtproto" | "mtproto, dd" | "mtproto, ee";
const KINDS: readonly Kind[] = [
  "socks5",
  "socks4",
  "http",
  "mtproto",
  "mtproto, dd",
  ...(libraryName === "teleproto" ? (["mtproto, ee"] as const) : []),
];
const WITH_LOGIN = ["socks5", "http"] as const;
const SECRET = Buffer.alloc(16, 0xab);

/** What this process has connected to, but for the proxy's own sockets; and every socket and look-up, counted below them. */
interface Watch {
  readonly dialed: string[];
  readonly lookedUp: string[];
  /** By the system calls of Node.js, those of the proxy included. */
  count(kind: "TCPCONNECTWRAP" | "UDPWRAP" | "TLSWRAP"): number;
}

function watchSockets(proxy: RecordingProxy): Watch {
  const dialed: string[] = [];
  const lookedUp: string[] = [];
  const { connect } = Socket.prototype;
  const spy = vi.spyOn(Socket.prototype, "connect").mockImplementation(function (this: Socket, ...values: unknown[]) {
    const [first] = values as [unknown[] | object | number];
    const to = Array.isArray(first) ? (first[0] as object) : first;
    const [port, host] = typeof to === "object" ? [Reflect.get(to, "port"), Reflect.get(to, "host")] : values;
    if (!proxy.isOwn(this)) dialed.push(`${String(host)}:${String(port)}`);
    return Reflect.apply(connect, this, values) as Socket;
  });
  const { lookup } = dns;
  const lookups = vi.spyOn(dns, "lookup").mockImplementation(((...values: unknown[]) => {
    lookedUp.push(String(values[0]));
    return Reflect.apply(lookup, dns, values) as unknown;
  }) as never);
  const counts = new Map<string, number>();
  const hook = createHook({ init: (_, type) => void counts.set(type, (counts.get(type) ?? 0) + 1) }).enable();
  onTestFinished(() => {
    spy.mockRestore();
    lookups.mockRestore();
    hook.disable();
  });
  return { dialed, lookedUp, count: (kind) => counts.get(kind) ?? 0 };
}

interface ProxiedStage extends Stage {
  readonly proxy: RecordingProxy;
  readonly watch: Watch;
  readonly pool: Pool;
  /** Nothing was connected to but the proxy, and the server was reached through it alone. */
  expectOnlyProxy(): void;
}

/** Two data centers that can be reached directly just as well, and one session behind a proxy. */
async function behindProxy(kind: Kind, options: OpenOptions = {}): Promise<ProxiedStage> {
  const scene = await stage({ dataCenters: [2, FAR], accounts: [{ name: "account1" }, { name: "far", dcId: FAR }] });
  const { server } = scene;
  await shareKeyWithFar(server.sessions[1] ?? "");
  serveFile(server);
  server.handle("auth.ExportAuthorization", ({ tl }) =>
    tl("auth.ExportedAuthorization", { id: 1n, bytes: Buffer.alloc(8) }),
  );
  server.handle("auth.ImportAuthorization", ({ tl }) =>
    tl("auth.Authorization", { user: tl("UserEmpty", { id: 1n }) }),
  );
  const isMtproto = kind.startsWith("mtproto");
  const portOf = (dcId: number): number => parseSession(server.sessions[dcId === FAR ? 1 : 0] ?? "").port ?? 0;
  const proxy = await startRecordingProxy(
    isMtproto ? { secret: SECRET, isFakeTls: kind.endsWith("ee"), portOf } : undefined,
  );
  const watch = watchSockets(proxy);
  const client = { server: server.server, clientOptions: { networkSocket: PromisedNetSockets } };
  const pool = await scene.open({ add: [], ...options, client: { ...client, ...options.client } });
  const url = isMtproto
    ? `tg://proxy?server=127.0.0.1&port=${proxy.port}&secret=${secretOf(kind)}`
    : `${kind}://${loginOf(kind)}@127.0.0.1:${proxy.port}`;
  await pool.add("a", server.sessions[0] ?? "", { profile: { proxy: url } });
  const expectOnlyProxy = (): void => {
    expect(new Set(watch.dialed)).toEqual(new Set([`127.0.0.1:${proxy.port}`]));
    expect(watch.dialed).toHaveLength(proxy.asked.length);
    expect(server.connections()).toHaveLength(proxy.asked.length);
    expect(watch.count("TCPCONNECTWRAP")).toBe(2 * proxy.asked.length);
    expect([watch.lookedUp, watch.count("UDPWRAP"), watch.count("TLSWRAP")]).toEqual([[], 0, 0]);
  };
  return { ...scene, proxy, watch, pool, expectOnlyProxy };
}

/** SOCKS4 has no password. */
function loginOf(kind: Kind): string {
  return kind === "socks4" ? LOGIN.username : `${LOGIN.username}:${LOGIN.password}`;
}

function secretOf(kind: Kind): string {
  const [, prefix = ""] = kind.split(", ");
  const domain = prefix === "ee" ? Buffer.from("example.org").toString("hex") : "";
  return `${prefix}${SECRET.toString("hex")}${domain}`;
}

/** The test server lets no new key into its second data center: the session has had one there. */
async function shareKeyWithFar(session: string): Promise<void> {
  const farKey = new AuthKey();
  await farKey.setKey(Buffer.from(parseSession(session).authKey));
  const { getAuthKey } = StringSession.prototype;
  const patched = vi.spyOn(StringSession.prototype, "getAuthKey").mockImplementation(function (this: never, dcId) {
    return dcId === FAR ? farKey : getAuthKey.call(this, dcId);
  });
  onTestFinished(() => patched.mockRestore());
}

const download = (client: TelegramClient): Promise<unknown> =>
  client.downloadFile(location(), {
    fileSize: bigInt(CHUNKS * CHUNK),
    partSizeKb: CHUNK / 1024,
    dcId: FAR,
  }) as Promise<unknown>;

describe.each(KINDS)("a session behind a proxy (%s) - opens sockets to it alone", (kind) => {
  test("calls, files of another data center, uploads, reconnects", async () => {
    const { server, pool, proxy, expectOnlyProxy } = await behindProxy(kind);
    expect(await within(10_000, pool.use(nameOf))).toBe("account1");
    expect(await within(10_000, pool.use(download))).toHaveLength(CHUNKS * CHUNK);
    const file = new CustomFile("file.bin", CHUNK, "", Buffer.alloc(CHUNK));
    await within(
      10_000,
      pool.use((client) => client.uploadFile({ file, workers: 4 })),
    );
    expect(new Set(proxy.asked).size).toBe(2);
    expectOnlyProxy();
    const before = proxy.asked.length;
    server.disconnect();
    await until("its connections are gone", () => server.connections().every(({ closedAt }) => closedAt !== null));
    expect(await within(10_000, pool.use(nameOf, { wait: 8_000 }))).toBe("account1");
    expect(await within(10_000, pool.use(download))).toHaveLength(CHUNKS * CHUNK);
    expect(proxy.asked.length).toBeGreaterThan(before + 1);
    expectOnlyProxy();
  });

  test("a file on a CDN - is refused by the library, or comes through the proxy", async () => {
    const { server, pool, proxy, expectOnlyProxy } = await behindProxy(kind);
    server.handle("upload.GetFile", ({ tl }) =>
      tl("upload.FileCdnRedirect", {
        dcId: 203,
        fileToken: Buffer.alloc(8),
        encryptionKey: Buffer.alloc(32),
        encryptionIv: Buffer.alloc(16),
        fileHashes: [],
      }),
    );
    const error = await rejection(pool.use(download));
    expect(String(error)).toMatch(/cdn/i);
    expect(proxy.asked).toHaveLength(2);
    expectOnlyProxy();
  });
});

describe.each(WITH_LOGIN)("a session behind a proxy (%s)", (kind) => {
  test("a server known by name - is looked up by the proxy", async () => {
    const scene = await behindProxy(kind);
    const { server, proxy } = scene;
    const client = { server: { ...address(server.server), host: "localhost" } };
    await scene.pool.close();
    const clientOptions = { networkSocket: PromisedNetSockets };
    const again = await scene.open({ add: [], client: { ...client, clientOptions } });
    expect(await within(10_000, again.use(nameOf))).toBe("account1");
    expect(proxy.asked.at(-1)).toBe(`localhost:${server.port}`);
    expect(scene.watch.lookedUp.filter((name) => name !== "localhost")).toEqual([]);
    expect(new Set(scene.watch.dialed)).toEqual(new Set([`127.0.0.1:${proxy.port}`]));
  });

  test("a proxy that is gone or refuses the login - ConnectError with its cause, and nothing is dialed directly", async () => {
    const { server, pool, proxy, watch } = await behindProxy(kind);
    await pool.use(nameOf);
    const wrong = `${kind}://${LOGIN.username}:wrong-password@127.0.0.1:${proxy.port}`;
    await pool.update("a", { profile: { proxy: wrong } });
    const refused = await rejection(pool.use(nameOf, { id: "a" }));
    expect(refused).toMatchObject({ code: "CONNECT_FAILED", cause: { message: expect.stringMatching(/password/) } });
    expect(String(refused)).not.toMatch(/wrong-password|canary/);
    await proxy.close();
    await pool.enable("a");
    const gone = await rejection(pool.use(nameOf, { id: "a" }));
    expect(gone).toMatchObject({ code: "CONNECT_FAILED", cause: { code: "ECONNREFUSED" } });
    expect(new Set(watch.dialed)).toEqual(new Set([`127.0.0.1:${proxy.port}`]));
    expect(server.connections()).toHaveLength(1);
    expect(pool.get("a")?.state).toBe("cooling");
  });
});

describe("a profile that the library cannot connect with", () => {
  const ee = `ee${"ab".repeat(16)}${Buffer.from("example.org").toString("hex")}`;

  test("an MTProto proxy with fake TLS - refused by GramJS, taken by teleproto", async () => {
    const { server, open } = await stage();
    const pool = await open({ add: [] });
    const proxy = `tg://proxy?server=127.0.0.1&port=1&secret=${ee}`;
    const added = pool.add("a", server.sessions[0] ?? "", { profile: { proxy } });
    if (libraryName === "teleproto") return void (await added);
    expect(await rejection(added)).toMatchObject({
      code: "INVALID_OPTIONS",
      message: expect.stringMatching(/fake TLS/),
    });
    expect(pool.sessions()).toEqual([]);
  });

  test("a networkSocket that could pass the proxy by - refused", async () => {
    const { server, open } = await stage();
    class Own {}
    const pool = await open({ add: [], client: { clientOptions: { networkSocket: Own as never } } });
    const proxy = "socks5://127.0.0.1:1";
    const added = rejection(pool.add("a", server.sessions[0] ?? "", { profile: { proxy } }));
    expect(await added).toMatchObject({ message: expect.stringMatching(/networkSocket/) });
  });
});

function address({ dcId, host, port, publicKey }: Stage["server"]["server"]): Stage["server"]["server"] {
  return { dcId, host, port, publicKey };
}
