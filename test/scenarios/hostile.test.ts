import type { NewMessageEvent } from "telegram/events/index.js";
import { describe, expect, test } from "vitest";
import { ConnectError, OutcomeUnknownError, RotationUnsafeError } from "../../src/index.js";
import { NewMessage } from "../fakes/client-library.js";
import { Api, callsOf, expectPeace, message, nameOf, rejection, stage, textsOf, until, within } from "./support.js";

const update = (text: string) =>
  new Api.UpdateShortMessage({
    id: 1,
    userId: 100000001n,
    message: text,
    pts: 1,
    ptsCount: 1,
    date: 1,
  } as never) as never;

describe("reconnecting in the middle of work", () => {
  test.each([
    [420, "FLOOD_WAIT_30", "cooling"],
    [401, "SESSION_REVOKED", "dead"],
    [406, "AUTH_KEY_DUPLICATED", "dead"],
  ] as const)("when the second connect is refused with %i %s, rotates", async (code, text, state) => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    const first = await pool.use(async (client, lease) => {
      await client.getMe();
      return lease.id;
    });
    server.fail({ account: first, connect: "only", code, message: text });
    const ran: string[] = [];
    await within(
      3_000,
      pool.use(
        async (client, lease) => {
          ran.push(lease.id);
          await client.getMe();
          if (lease.id !== first) return;
          server.disconnect(first);
          await until("it noticed", () => Reflect.get(client, "connected") === false, 500).catch(() => {});
          await client.getMe();
        },
        { key: "any" },
      ),
    ).catch((error) => {
      if (ran.includes(first)) throw error;
    });
    if (!ran.includes(first)) return;
    expect(pool.get(first)?.state).toBe(state);
    expect(ran).toHaveLength(2);
  });

  test("when a write was cut off and the reconnect is refused, rejects with OutcomeUnknownError and repeats nothing", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    await Promise.all([pool.use(nameOf), pool.use(nameOf)]);
    server.cut({ method: "messages.SendMessage", at: "after", times: 1 });
    server.fail({ connect: "only", code: 401, message: "SESSION_REVOKED" });
    const error = await rejection(pool.invoke(message("once")), 3_000);
    expect(error).toBeInstanceOf(OutcomeUnknownError);
    expect(textsOf(server)).toEqual(["once"]);
    expect(callsOf(server, "messages.SendMessage")).toHaveLength(1);
    expect(pool.status().dead).toBe(1);
  });

  test("when a write was cut off, then flooded on its second copy, the outcome is unknown and it is not repeated elsewhere", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    server.cut({ method: "messages.SendMessage", at: "after", times: 1 });
    server.fail({ method: "messages.SendMessage", message: "FLOOD_WAIT_30", times: 1 });
    const error = await rejection(pool.invoke(message("once")), 3_000);
    expect(["OUTCOME_UNKNOWN", "ROTATION_UNSAFE"]).toContain((error as Error & { code: string }).code);
    expect(textsOf(server)).toEqual(["once"]);
    expect(pool.status().cooling).toBe(1);
    expectPeace(server);
  });

  test("when a write was cut off after one that took effect, and a flood follows, the work is not repeated", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    server.fail({ method: "users.GetFullUser", message: "FLOOD_WAIT_30", times: 1 });
    server.cut({ method: "account.UpdateStatus", at: "after", times: 1 });
    const error = await rejection(
      pool.use(async (client) => {
        await client.invoke(new Api.account.UpdateStatus({ offline: true })).catch(() => {});
        await client.invoke(new Api.users.GetFullUser({ id: new Api.InputUserSelf() }));
      }),
      3_000,
    );
    expect(error).toBeInstanceOf(RotationUnsafeError);
    expect(callsOf(server, "account.UpdateStatus")).toHaveLength(1);
  });
});

describe("many parallel calls", () => {
  test("50 sends behind one that is never answered settle by its deadline", async () => {
    const { server, open } = await stage();
    const pool = await open({ callTimeoutMs: 1_000 });
    server.mute({ method: "messages.SendMessage", times: 1 });
    using lease = await pool.acquire();
    const peer = await lease.client.getInputEntity("user1");
    const sends = Array.from({ length: 50 }, (_, i) => lease.client.sendMessage(peer, { message: `b${i}` }));
    const settled = await within(6_000, Promise.allSettled(sends));
    expect(settled[0]).toMatchObject({ status: "rejected", reason: { code: "OUTCOME_UNKNOWN" } });
    const delivered = settled.filter(({ status }) => status === "fulfilled").length;
    expect(textsOf(server)).toHaveLength(delivered + 1);
    expectPeace(server);
  });

  test("under cuts, floods, errors and delays, every job settles, none takes effect twice, no wait is broken", async () => {
    const { server, open } = await stage({ accounts: 6 });
    const pool = await open({ callTimeoutMs: 600, maxConnected: 4, idleTimeoutMs: 50 });
    let turn = 0;
    const every = (n: number) => ({ when: () => ++turn % n === 0 });
    const method = ["messages.SendMessage", "users.GetUsers", "contacts.ResolveUsername"];
    server.cut({ ...every(23), method, at: "before" });
    server.cut({ ...every(29), method, at: "after" });
    server.fail({ ...every(31), method, message: "FLOOD_WAIT_1" });
    server.fail({ ...every(37), method, message: "RPC_CALL_FAIL", code: 500 });
    server.mute({ ...every(41), method });
    server.delay({ ...every(11), method, delayMs: 40 });
    const jobs = Array.from({ length: 160 }, (_, i) =>
      i % 2 === 0 ? pool.invoke(message(`s${i}`, `user${i % 7}`)) : pool.use(nameOf),
    );
    const settled = await within(25_000, Promise.allSettled(jobs));
    const sent = textsOf(server);
    expect(server.duplicates({ key: ({ text }) => text })).toEqual([]);
    expect(server.violations()).toEqual([]);
    const lost = settled.flatMap((one, i) =>
      i % 2 === 0 && one.status === "fulfilled" && !sent.includes(`s${i}`) ? [`s${i}`] : [],
    );
    expect(lost).toEqual([]);
    const odd = settled.flatMap((one) => (one.status === "rejected" ? [one.reason] : []));
    for (const error of odd) {
      expect(["OUTCOME_UNKNOWN", "CALL_TIMEOUT", "CONNECT_FAILED", "ROTATION_UNSAFE", 500]).toContain(error.code);
    }
    await until("all leases are back", () => pool.status().leased === 0);
    expect(pool.leases()).toEqual([]);
  });

  test("a thousand callers that share one signal reject with its reason", async () => {
    const { open } = await stage();
    const pool = await open();
    const warnings: Error[] = [];
    const note = (warning: Error) => void warnings.push(warning);
    process.on("warning", note);
    const lease = await pool.acquire();
    const abort = new AbortController();
    const callers = Array.from({ length: 1_000 }, () => rejection(pool.use(nameOf, { signal: abort.signal })));
    await until("all are waiting", () => pool.status().waiters === 1_000);
    const reason = new Error("closing time");
    abort.abort(reason);
    expect(new Set(await Promise.all(callers))).toEqual(new Set([reason]));
    expect(pool.status().waiters).toBe(0);
    lease.release();
    await new Promise((resolve) => setImmediate(resolve));
    process.off("warning", note);
    expect(warnings).toEqual([]);
  });
});

describe("callers' own code", () => {
  test.each([["a string"], [undefined], [null], [{ seconds: 5 }]])(
    "use() - throws %o: unchanged, the session is free",
    async (thrown) => {
      const { open } = await stage();
      const pool = await open();
      let caught: unknown = "nothing";
      await pool
        .use(() => {
          throw thrown;
        })
        .catch((error: unknown) => {
          caught = error;
        });
      expect(caught).toBe(thrown);
      expect(pool.status().free).toBe(1);
    },
  );

  test("when onConnect rejects, the caller gets ConnectError and its connection is closed", async () => {
    const { server, open } = await stage();
    const pool = await open({ client: { onConnect: () => Promise.reject(new Error("no handlers today")) } });
    const error = await rejection(pool.use(nameOf), 2_000);
    expect(error).toBeInstanceOf(ConnectError);
    expect(error.message).toContain("no handlers today");
    await until("it is closed", () => server.connections().every(({ closedAt }) => closedAt !== null));
    expect(pool.get("account1")?.state).toBe("cooling");
  });

  test("when onConnect never ends, connectTimeoutMs ends it", async () => {
    const { server, open } = await stage();
    const pool = await open({ connectTimeoutMs: 200, client: { onConnect: () => new Promise(() => {}) } });
    expect(await rejection(pool.use(nameOf), 1_500)).toBeInstanceOf(ConnectError);
    await until("it is closed", () => server.connections().every(({ closedAt }) => closedAt !== null));
  });

  test("onConnect - handlers added there outlast leases and reconnects", async () => {
    const { server, open } = await stage();
    const seen: string[] = [];
    const pool = await open({
      client: {
        updates: true,
        onConnect: (client) =>
          client.addEventHandler((event: NewMessageEvent) => void seen.push(event.message.message), new NewMessage({})),
      },
    });
    await pool.use(nameOf);
    server.push("account1", update("one"));
    await until("it was told", () => seen.length === 1);
    server.disconnect();
    await pool.use(nameOf);
    server.push("account1", update("two"));
    await until("it was told", () => seen.length === 2);
    expect(seen).toEqual(["one", "two"]);
  });

  test("listeners that throw or reject disturb neither the pool nor its callers", async () => {
    const { open, toldOf } = await stage();
    const pool = await open();
    const warned: string[] = [];
    const note = (warning: Error) => void warned.push(warning.name);
    process.on("warning", note);
    pool.on("leased", () => {
      throw new Error("a listener's own");
    });
    pool.on("leased", (async () => {
      throw new Error("a listener's own");
    }) as never);
    expect(await pool.use(nameOf)).toBe("account1");
    await until("it became warnings", () => warned.length >= 2);
    process.off("warning", note);
    expect(toldOf("leased")).toHaveLength(1);
  });
});
