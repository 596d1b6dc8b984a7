import type { TelegramClient } from "telegram";
import type { NewMessageEvent } from "telegram/events/index.js";
import { describe, expect, test } from "vitest";
import { LeaseReleasedError } from "../../src/index.js";
import { NewMessage } from "../fakes/client-library.js";
import { Api, callsOf, message, rejection, stage, textsOf, until, within } from "./support.js";

/** What the call throws or rejects with. */
async function failure(call: () => unknown): Promise<unknown> {
  try {
    await within(500, Promise.resolve(call()));
  } catch (error) {
    return error;
  }
  return undefined;
}

const SYNCHRONOUS = new Set(["addEventHandler", "removeEventHandler", "listEventHandlers", "on", "setParseMode"]);

describe("a released lease", () => {
  test("makes every method of the client throw or reject", async () => {
    const { open, server } = await stage();
    const pool = await open();
    const lease = await pool.acquire();
    const { client } = lease;
    await client.getMe();
    const bound = client.sendMessage.bind(client);
    const { getMe, invoke } = client;
    const escaped: string[] = [];
    lease.release();
    const before = server.calls().length;
    for (
      let holder = Object.getPrototypeOf(client);
      holder !== Object.prototype;
      holder = Object.getPrototypeOf(holder)
    ) {
      for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(holder))) {
        if (name === "constructor" || typeof property.value !== "function") continue;
        const method = Reflect.get(client, name) as (...values: unknown[]) => unknown;
        const error = await failure(() => method.call(client));
        if (!(error instanceof LeaseReleasedError)) escaped.push(name);
      }
    }
    expect(escaped).toEqual([]);
    for (const name of SYNCHRONOUS) {
      if (typeof Reflect.get(client, name) !== "function") continue;
      expect(() => (Reflect.get(client, name) as () => unknown).call(client), name).toThrow(LeaseReleasedError);
    }
    expect(await failure(() => bound("user1", { message: "x" }))).toBeInstanceOf(LeaseReleasedError);
    expect(await failure(() => getMe.call(client))).toBeInstanceOf(LeaseReleasedError);
    expect(await failure(() => invoke.call(client, message("x")))).toBeInstanceOf(LeaseReleasedError);
    expect(server.calls()).toHaveLength(before);
  });

  test("makes objects obtained through the client reject, too", async () => {
    const { open, server } = await stage();
    const pool = await open();
    const lease = await pool.acquire();
    const sent = await lease.client.sendMessage("channel1", { message: "hello" });
    for (let i = 0; i < 5; i++) await lease.client.sendMessage("channel1", { message: `m${i}` });
    const [received] = await lease.client.getMessages("channel1", { limit: 1 });
    const fresh = lease.client.iterMessages("channel1", { limit: 3 });
    lease.release();
    const before = server.calls().length;
    expect(await failure(() => sent.reply({ message: "x" }))).toBeInstanceOf(LeaseReleasedError);
    expect(await failure(() => received?.edit({ text: "x" }))).toBeInstanceOf(LeaseReleasedError);
    expect(await failure(() => received?.delete())).toBeInstanceOf(LeaseReleasedError);
    expect(await failure(() => received?.respond({ message: "x" }))).toBeInstanceOf(LeaseReleasedError);
    expect(await failure(() => received?.forwardTo("user2"))).toBeInstanceOf(LeaseReleasedError);
    expect(await failure(() => received?.markAsRead())).toBeInstanceOf(LeaseReleasedError);
    expect(await failure(() => fresh[Symbol.asyncIterator]().next())).toBeInstanceOf(LeaseReleasedError);
    expect(await failure(() => fresh.collect())).toBeInstanceOf(LeaseReleasedError);
    expect(server.calls()).toHaveLength(before);
    expect(textsOf(server)).toHaveLength(6);
  });

  test("makes iterMessages() reject in the middle of its pages", async () => {
    const { open, server } = await stage();
    const pool = await open();
    await pool.use(async (client) => {
      const peer = await client.getInputEntity("channel1");
      for (let i = 0; i < 120; i++) await client.invoke(new Api.messages.SendMessage({ peer, message: `m${i}` }));
    });
    const lease = await pool.acquire();
    const seen: unknown[] = [];
    const reading = (async () => {
      for await (const one of lease.client.iterMessages("channel1", { limit: 120, waitTime: 0 })) {
        seen.push(one);
        if (seen.length === 100) lease.release();
      }
    })();
    expect(await rejection(reading, 3_000)).toBeInstanceOf(LeaseReleasedError);
    expect(seen).toHaveLength(100);
    expect(callsOf(server, "messages.GetHistory")).toHaveLength(1);
  });

  test("release() - requests in flight reject at once, the next holder comes after the answer", async () => {
    const { open, server } = await stage();
    const pool = await open();
    const lease = await pool.acquire();
    await lease.client.getMe();
    server.delay({ method: "users.GetFullUser", delayMs: 2_000, times: 1 });
    const started = Date.now();
    const flying = rejection(lease.client.invoke(new Api.users.GetFullUser({ id: new Api.InputUserSelf() })), 1_900);
    await until("it is under way", () => callsOf(server, "users.GetFullUser").length === 1);
    lease.release();
    expect(await flying).toBeInstanceOf(LeaseReleasedError);
    expect(Date.now() - started).toBeLessThan(1_500);
    expect(pool.status()).toMatchObject({ leased: 1, free: 0 });
    const next = await pool.acquire();
    expect(Date.now() - started).toBeGreaterThanOrEqual(1_990);
    expect(await next.client.getMe()).toBeDefined();
    next.release();
    lease.release();
    expect(pool.status()).toMatchObject({ leased: 0, free: 1 });
    expect(server.connections()).toHaveLength(1);
  });

  test("release() - a request that is never answered: callTimeoutMs, then a new connection", async () => {
    const { open, server } = await stage();
    const pool = await open({ callTimeoutMs: 1_000 });
    const lease = await pool.acquire();
    server.mute({ method: "messages.SendMessage", times: 1 });
    const flying = rejection(lease.client.invoke(message("gone")));
    await until("it is under way", () => callsOf(server, "messages.SendMessage").length === 1);
    lease.release();
    expect(await flying).toBeInstanceOf(LeaseReleasedError);
    const next = await within(6_000, pool.acquire());
    await next.client.getMe();
    next.release();
    expect(server.connections()).toHaveLength(2);
    expect(textsOf(server)).toEqual(["gone"]);
  });

  test("does not send requests queued behind a slow one", async () => {
    const { open, server } = await stage();
    const pool = await open();
    const lease = await pool.acquire();
    const peer = await lease.client.getInputEntity("user1");
    server.delay({ method: "messages.SendMessage", delayMs: 200, times: 1 });
    const sends = Promise.allSettled(
      Array.from({ length: 5 }, (_, i) =>
        lease.client.invoke(new Api.messages.SendMessage({ peer, message: `q${i}` })),
      ),
    );
    await until("the first is under way", () => callsOf(server, "messages.SendMessage").length === 1);
    lease.release();
    expect((await sends).every(({ status }) => status === "rejected")).toBe(true);
    const next = await within(2_000, pool.acquire());
    await next.client.getMe();
    next.release();
    expect(textsOf(server)).toEqual(["q0"]);
  });
});

describe("a leased client", () => {
  test("disconnect(), destroy() and connect() do nothing", async () => {
    const { open, server, toldOf } = await stage();
    const pool = await open();
    await pool.use(async (client) => {
      await client.disconnect();
      await client.destroy();
      expect(await client.connect()).toBe(true);
      await client.getMe();
    });
    expect(server.connections()).toHaveLength(1);
    expect(toldOf("disconnected")).toEqual([]);
  });

  test("settings made under a lease end with it, the flood threshold stays 0", async () => {
    const { open } = await stage();
    const pool = await open();
    let before: unknown;
    await pool.use((client) => {
      before = client.parseMode;
      client.setParseMode("html");
      client.floodSleepThreshold = 60;
      Object.assign(client, { _requestRetries: 99, ownMark: true });
      expect(client.parseMode).not.toBe(before);
      expect(client.floodSleepThreshold).toBe(0);
    });
    await pool.use((client) => {
      expect(client.parseMode).toBe(before);
      expect(client.floodSleepThreshold).toBe(0);
      expect(Reflect.get(client, "ownMark")).toBeUndefined();
      expect(Reflect.get(client, "_requestRetries")).not.toBe(99);
    });
  });

  test("event handlers get the guarded client and are gone after the lease", async () => {
    const { open, server } = await stage({ accounts: 2 });
    const pool = await open({ add: ["account1"], client: { updates: true } });
    const lease = await pool.acquire();
    const seen: string[] = [];
    const clients: (TelegramClient | undefined)[] = [];
    lease.client.addEventHandler((event: NewMessageEvent) => {
      seen.push(event.message.message);
      clients.push(event.client);
    }, new NewMessage({}));
    await lease.client.getMe();
    const arrive = async (text: string): Promise<void> => {
      const tl = (fields: object) => fields as never;
      server.push(
        "account1",
        new Api.UpdateShortMessage(
          tl({ id: 1, userId: 100000001n as never, message: text, pts: 1, ptsCount: 1, date: 1 }),
        ) as never,
      );
      await new Promise((resolve) => setTimeout(resolve, 50));
    };
    await arrive("one");
    await until("it was told", () => seen.length === 1);
    lease.release();
    await arrive("two");
    await pool.use((client) => client.getMe());
    expect(seen).toEqual(["one"]);
    const [given] = clients;
    expect(given).toBeDefined();
    expect(await failure(() => given?.sendMessage("user1", { message: "x" }))).toBeInstanceOf(LeaseReleasedError);
    expect(pool.leases()).toEqual([]);
  });
});
