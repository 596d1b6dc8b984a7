import { createServer } from "node:net";
import { inspect } from "node:util";
import type { TelegramClient } from "telegram";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { LeaseReleasedError, OptionsError, parseSession } from "../../src/index.js";
import { PromisedNetSockets, telegramAdapter } from "../fakes/client-library.js";
import { API_HASH, nameOf, type Pool, rejection, stage } from "./support.js";

const PASSWORD = "canary-proxy-password";

/** Every form in which a secret of the first session could be written. */
function canaries(session: string): readonly string[] {
  const key = Buffer.from(parseSession(session).authKey);
  const bytes = [...key.subarray(40, 48)];
  return [
    session,
    session.slice(40, 80),
    API_HASH,
    PASSWORD,
    key.toString("hex").slice(64, 96),
    key.toString("base64").slice(64, 96),
    bytes.join(","),
    bytes.join(", "),
    bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(" "),
  ];
}

function expectNoSecret(text: string, session: string): void {
  const plain = text.replace(/\s+/g, " ");
  for (const canary of canaries(session)) expect(plain.includes(canary), canary.slice(0, 12)).toBe(false);
}

function seen(value: unknown): string {
  const views = [
    inspect(value, { showProxy: true, depth: 9, showHidden: true, getters: true }),
    inspect(value, { depth: 9 }),
    inspect(value),
    String(value),
  ];
  try {
    views.push(JSON.stringify(value) ?? "");
  } catch (error) {
    views.push(String(error));
  }
  return views.join("\n");
}

async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (typeof address !== "object" || address === null) throw new Error("no port");
  return address.port;
}

/** Everything written to the console while the work runs. */
async function printed(work: () => Promise<unknown>): Promise<string> {
  const lines: string[] = [];
  const spies = (["log", "info", "warn", "error", "debug"] as const).map((name) =>
    vi.spyOn(console, name).mockImplementation((...values) => {
      lines.push(values.map((value) => (typeof value === "string" ? value : inspect(value, { depth: 9 }))).join(" "));
    }),
  );
  onTestFinished(() => spies.forEach((spy) => void spy.mockRestore()));
  await work();
  for (const spy of spies) spy.mockRestore();
  return lines.join("\n");
}

describe("secrets", () => {
  test("inspect(), String() and JSON of pool, lease, client and session info show none", async () => {
    const { server, open } = await stage();
    const [session = ""] = server.sessions;
    const pool = await open();
    const lease = await pool.acquire();
    const { client } = lease;
    await client.getMe();
    const sent = await client.sendMessage("user1", { message: "x" });
    const things = {
      pool,
      lease,
      client,
      sent,
      dialogs: client.iterDialogs({}),
      info: pool.sessions(),
      leases: pool.leases(),
    };
    for (const thing of Object.values(things)) expectNoSecret(seen(thing), session);
    expectNoSecret(seen(things), session);
    lease.release();
    expectNoSecret(seen(lease), session);
    expectNoSecret(seen(client), session);
  });

  test("events and errors of floods, deaths, timeouts and closing contain none", async () => {
    const { server, open, told } = await stage({ accounts: 2 });
    const [session = ""] = server.sessions;
    const pool = await open({ callTimeoutMs: 1_000 });
    const errors: unknown[] = [];
    server.fail({ method: "users.GetUsers", account: "account1", message: "FLOOD_WAIT_30", times: 1 });
    errors.push(await rejection(pool.use(nameOf, { id: "account1", wait: false })));
    await pool.enable("account1");
    server.mute({ method: "users.GetUsers" });
    errors.push(await rejection(pool.use(nameOf, { id: "account2" })));
    server.clearRules();
    server.revoke("account2");
    errors.push(await rejection(pool.use(nameOf, { id: "account2" })));
    errors.push(await rejection(pool.add("other", session)));
    errors.push(await rejection(pool.add("account2", session)));
    errors.push(await rejection(pool.add("broken", `${session}x!`)));
    errors.push(await rejection(pool.add("cut", session.slice(0, 200))));
    await pool.close();
    errors.push(await rejection(pool.use(nameOf)));
    for (const error of errors) expectNoSecret(seen(error), session);
    expectNoSecret(seen(told), session);
    expect(errors.map((error) => (error as Error).name)).not.toContain("TypeError");
  });

  test("the client of onConnect, its session, sender and key - are hidden from every way of printing that calls no getter", async () => {
    const { server, open } = await stage();
    const [session = ""] = server.sessions;
    let raw: TelegramClient | undefined;
    const keep = (client: TelegramClient): void => {
      raw = client;
    };
    const pool = await open({ client: { onConnect: keep } });
    using lease = await pool.acquire();
    await lease.client.getMe();
    const things = [raw, lease.client].flatMap((client) => {
      const { session: own, _sender: sender } = client as unknown as Record<"session" | "_sender", object>;
      return [client, own, sender, Reflect.get(Object(Reflect.get(own, "authKey")), "constructor"), { ...sender }];
    });
    const all = { depth: 12, maxArrayLength: null, maxStringLength: null, showHidden: true } as const;
    for (const thing of things) {
      const ways = [inspect(thing), inspect(thing, all), inspect(thing, { ...all, customInspect: false, depth: 9 })];
      expectNoSecret(ways.join("\n"), session);
      expectNoSecret(inspect(Object.entries(Object(thing)), { depth: 9 }), session);
    }
  });

  test("kept over the end of its lease - session, key and api hash can be read no more", async () => {
    const { open } = await stage();
    const pool = await open();
    const lease = await pool.acquire();
    const client = lease.client as unknown as { apiHash: string; session: { authKey: { getKey(): unknown } } };
    const { session } = client;
    const { authKey } = session;
    expect({ key: authKey.getKey(), apiHash: client.apiHash }).toEqual({ key: expect.any(Buffer), apiHash: API_HASH });
    lease.release();
    for (const read of [
      () => client.apiHash,
      () => session.authKey,
      () => authKey.getKey(),
      () => Reflect.get(authKey, "_key"),
      () => Reflect.get(session, "_key"),
      () => Object.getOwnPropertyDescriptor(session, "_key"),
      () => Object.getOwnPropertyDescriptor(client, "apiHash"),
    ]) {
      expect(read).toThrow(LeaseReleasedError);
    }
  });

  test.each([
    { ip: `socks5://u:${PASSWORD}@127.0.0.1`, port: 1, socksType: 5 },
    { ip: "127.0.0.1", port: 1 },
    { ip: "127.0.0.1", port: 1, MTProxy: true, secret: PASSWORD },
    PASSWORD,
  ])("clientOptions.proxy that cannot be one (%#) - OptionsError without it", (proxy) => {
    const make = () => telegramAdapter({ apiId: 1, apiHash: "x", clientOptions: { proxy: proxy as never } });
    expect(make).toThrow(OptionsError);
    expect(make).not.toThrow(PASSWORD);
  });

  const proxies = {
    "profile.proxy": async (open: (proxy: object) => Promise<Pool>) => open({}),
    "clientOptions.proxy": async (open: (proxy: object) => Promise<Pool>) =>
      open({ proxy: { ip: "127.0.0.1", port: await closedPort(), socksType: 5, username: "u", password: PASSWORD } }),
  };
  test.each(Object.keys(proxies))("a connect that fails at the proxy prints and throws none (%s)", async (where) => {
    const { server, open, told } = await stage();
    const [session = ""] = server.sessions;
    const proxy = {
      ip: "127.0.0.1",
      port: await closedPort(),
      socksType: 5,
      username: "u",
      password: PASSWORD,
    } as const;
    const lines: string[] = [];
    const note = (line: string) => void lines.push(line);
    const pool = await open({
      logger: { debug: note, info: note, warn: note, error: note },
      connectTimeoutMs: 1_000,
      client: { clientOptions: { networkSocket: PromisedNetSockets, ...(where === "profile.proxy" ? {} : { proxy }) } },
    });
    if (where === "profile.proxy") await pool.update("account1", { profile: { proxy } });
    let error: unknown;
    const output = await printed(async () => {
      error = await rejection(pool.use(nameOf, { id: "account1" }), 3_000);
      await rejection(pool.use(nameOf), 3_000).catch(() => {});
    });
    expect(error).toMatchObject({ code: "CONNECT_FAILED" });
    expect((error as Error).message).toContain(`through its proxy 127.0.0.1:${proxy.port}`);
    expectNoSecret(seen(error), session);
    expectNoSecret(output, session);
    expectNoSecret(lines.join("\n"), session);
    expectNoSecret(seen(told), session);
    expectNoSecret(seen(pool), session);
    expect(server.connections()).toEqual([]);
  });
});
