import { describe, expect, test } from "vitest";
import { CallTimeoutError, ConnectError, OutcomeUnknownError, systemClock } from "../../src/index.js";
import { Api, callsOf, expectPeace, message, nameOf, rejection, stage, textsOf, until, within } from "./support.js";

describe("transport errors", () => {
  test("-404 at connect: settles, the next session serves, no storm", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    server.failTransport({ account: "account1", code: -404 });
    for (let i = 0; i < 3; i++) expect(await within(2_000, pool.use(nameOf))).toBe("account2");
    expect(["cooling", "dead"]).toContain(pool.get("account1")?.state);
    expect(server.connections().filter(({ account }) => account === "account1").length).toBeLessThanOrEqual(2);
  });

  test("-404 at connect, repeatedly: proves no death; the session backs off for hours, and there is no third attempt", async () => {
    const { server, open, toldOf } = await stage({ accounts: 1 });
    const pool = await open();
    server.failTransport({ account: "account1", code: -404 });
    expect(await rejection(pool.use(nameOf), 3_000)).toBeInstanceOf(ConnectError);
    expect(pool.get("account1")?.state).toBe("cooling");
    expect(await rejection(pool.use(nameOf), 5_000)).toMatchObject({ code: "CONNECT_FAILED" });
    expect(pool.get("account1")).toMatchObject({ state: "cooling", reason: "TRANSPORT_404" });
    expect((pool.get("account1")?.availableAt ?? 0) - Date.now()).toBeGreaterThan(3_000_000);
    expect(toldOf("died")).toEqual([]);
    expect(await rejection(pool.use(nameOf, { wait: 500 }), 1_500)).toMatchObject({ code: "NO_SESSION_AVAILABLE" });
    expect(server.connections().length).toBe(2);
  });

  test("-404 once: the next connect works and resets the count", async () => {
    const { server, open } = await stage({ accounts: 1 });
    const pool = await open();
    const rule = server.failTransport({ account: "account1", code: -404 });
    await rejection(pool.use(nameOf), 3_000);
    rule.remove();
    expect(await within(5_000, pool.use(nameOf))).toBe("account1");
  });

  test("AUTH_KEY_PERM_EMPTY once is no death, twice is one", async () => {
    const { server, open } = await stage({ accounts: 1 });
    const pool = await open();
    const fail = () => server.fail({ method: "users.GetUsers", code: 401, message: "AUTH_KEY_PERM_EMPTY", times: 1 });
    fail();
    await pool.use(nameOf).catch(() => {});
    expect(pool.get("account1")?.state).toBe("free");
    fail();
    await pool.use(nameOf).catch(() => {});
    await pool.use(nameOf).catch(() => {});
    expect(pool.get("account1")?.state).toBe("dead");
  });

  test("-404 on a working connection: the read continues on another session, the write's outcome is unknown", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    await Promise.all([pool.use(nameOf), pool.use(nameOf)]);
    server.failTransport({ account: "account1", code: -404 });
    const names = await within(3_000, Promise.all([pool.use(nameOf), pool.use(nameOf)]));
    expect(names).toEqual(["account2", "account2"]);
    server.failTransport({ account: "account2", code: -404 });
    const error = await rejection(pool.invoke(new Api.account.UpdateStatus({ offline: true })), 3_000);
    expect(error).toBeInstanceOf(OutcomeUnknownError);
  });

  test("-429 at connect: backs off instead of hammering", async () => {
    const { server, open } = await stage();
    const pool = await open();
    const rule = server.failTransport({ code: -429, on: "connect" });
    expect(await rejection(pool.use(nameOf), 2_000)).toBeInstanceOf(ConnectError);
    expect(server.connections().length).toBeLessThanOrEqual(2);
    expect(pool.get("account1")?.state).toBe("cooling");
    rule.remove();
    expect(await within(4_000, pool.use(nameOf))).toBe("account1");
  });

  test("-429 once on a working connection: the read succeeds", async () => {
    const { server, open } = await stage();
    const pool = await open();
    await pool.use(nameOf);
    server.failTransport({ code: -429, times: 1 });
    expect(await within(3_000, pool.use(nameOf))).toBe("account1");
  });
});

describe("mute server", () => {
  test("at connect: after connectTimeoutMs, the next session serves", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open({ connectTimeoutMs: 1_000 });
    server.ignore({ account: "account1" });
    for (let i = 0; i < 3; i++) expect(await within(8_000, pool.use(nameOf))).toBe("account2");
    expect(pool.get("account1")?.state).toBe("cooling");
    await until("no dangling connection", () =>
      server.connections().every(({ account, closedAt }) => account !== "account1" || closedAt !== null),
    );
  });

  test("at connect, with id: ConnectError within connectTimeoutMs", async () => {
    const { server, open } = await stage();
    const pool = await open({ connectTimeoutMs: 1_000 });
    server.ignore();
    const error = await rejection(pool.acquire({ id: "account1" }), 4_000);
    expect(error).toBeInstanceOf(ConnectError);
    expect(error.message).toContain("connectTimeoutMs");
  });

  test("without an answer to initConnection: connectTimeoutMs ends it, too", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open({ connectTimeoutMs: 1_000 });
    server.mute({ account: "account1", connect: "only" });
    for (let i = 0; i < 2; i++) expect(await within(8_000, pool.use(nameOf))).toBe("account2");
  });

  test("on a working connection: a read rotates after callTimeoutMs", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open({ callTimeoutMs: 1_000 });
    await Promise.all([pool.use(nameOf), pool.use(nameOf)]);
    server.ignore({ account: "account1" });
    const names = await within(10_000, Promise.all([pool.use(nameOf), pool.use(nameOf)]));
    expect(names).toEqual(["account2", "account2"]);
  });

  test("on a working connection, with one session: CallTimeoutError for a read, OutcomeUnknownError for a write", async () => {
    const { server, open } = await stage();
    const pool = await open({ callTimeoutMs: 1_000 });
    const rule = server.mute({ method: ["users.GetUsers", "messages.SendMessage", "account.UpdateStatus"] });
    expect(await rejection(pool.use(nameOf), 5_000)).toBeInstanceOf(CallTimeoutError);
    expect(await rejection(pool.invoke(message("muted")), 5_000)).toBeInstanceOf(OutcomeUnknownError);
    const error = await rejection(pool.invoke(new Api.account.UpdateStatus({ offline: true })), 5_000);
    expect(error).toBeInstanceOf(OutcomeUnknownError);
    expect(error.cause).toBeInstanceOf(CallTimeoutError);
    expect(textsOf(server)).toEqual(["muted"]);
    expect(callsOf(server, "account.UpdateStatus")).toHaveLength(1);
    rule.remove();
    expect(await within(3_000, pool.use(nameOf))).toBe("account1");
    expectPeace(server);
  });

  test("timeoutMs: AttemptTimeoutError on time, final, the session is free again", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    // Connected before: the deadline is for the call alone, however busy the machine is.
    const names = await Promise.all([pool.use(nameOf), pool.use(nameOf)]);
    expect(new Set(names).size).toBe(2);
    const before = callsOf(server, "users.GetUsers").length;
    const rule = server.mute({ method: "users.GetUsers" });
    const started = Date.now();
    const error = await rejection(pool.use(nameOf, { timeoutMs: 200 }), 3_000);
    expect(error).toMatchObject({ code: "ATTEMPT_TIMEOUT" });
    expect(Date.now() - started).toBeLessThan(2_000);
    await until("it arrived", () => callsOf(server, "users.GetUsers").length > before);
    rule.remove();
    await until("free again", () => pool.status().free === 2, 3_000);
    expect(callsOf(server, "users.GetUsers")).toHaveLength(before + 1);
    for (let i = 0; i < 2; i++) await within(2_000, pool.use(nameOf));
  });

  test("timeoutMs during connecting: AttemptTimeoutError, too", async () => {
    const { server, open } = await stage();
    const pool = await open({ connectTimeoutMs: 2_000 });
    server.ignore();
    const error = await rejection(pool.use(nameOf, { timeoutMs: 200 }), 1_500);
    expect(error).toMatchObject({ code: "ATTEMPT_TIMEOUT" });
  });

  test("signal: an abort in the middle of a call rejects at once with its reason", async () => {
    const { server, open } = await stage();
    const pool = await open();
    server.mute({ method: "users.GetUsers", times: 1 });
    const abort = new AbortController();
    const work = pool.use(nameOf, { signal: abort.signal });
    work.catch(() => {});
    await until("it is under way", () => callsOf(server, "users.GetUsers").length === 1);
    const reason = new Error("enough");
    abort.abort(reason);
    expect(await rejection(work, 1_000)).toBe(reason);
    expect(await within(3_000, pool.use(nameOf))).toBe("account1");
  });
});

describe("a half-open connection", () => {
  /** Twenty times as quick: a ping every second, half a second for its answer. */
  const clock = { ...systemClock, setTimer: (ms: number, run: () => void) => systemClock.setTimer(ms / 20, run) };
  const patience = { connectTimeoutMs: 60_000, callTimeoutMs: 1_200_000, storageTimeoutMs: 200_000 };

  test("without calls in flight: is detected, and the next call uses a new one", async () => {
    const { server, open, toldOf } = await stage();
    const pool = await open({ clock, ...patience });
    await pool.use(nameOf);
    const rule = server.ignore();
    await until("it is noticed", () => toldOf("disconnected").length === 1);
    expect(toldOf("disconnected")).toEqual([{ id: "account1", reason: "Telegram did not answer a ping" }]);
    rule.remove();
    expect(await within(8_000, pool.use(nameOf))).toBe("account1");
    expect(server.maxConnectionsPerKey()).toBe(1);
  });

  test("with calls in flight: they settle long before callTimeoutMs, and the write's outcome is unknown", async () => {
    const { server, open, toldOf } = await stage();
    const pool = await open({ clock, leasesPerSession: 2, ...patience });
    await pool.use(nameOf);
    const rule = server.ignore();
    const read = pool.use(nameOf).catch((error: unknown) => error);
    const write = rejection(pool.invoke(new Api.account.UpdateStatus({ offline: true })), 15_000);
    await until("it is noticed", () => toldOf("disconnected").length === 1);
    rule.remove();
    expect(await write).toBeInstanceOf(OutcomeUnknownError);
    // Its new connection may have begun before the line was well again.
    const answer = await within(15_000, read);
    if (answer !== "account1") expect(answer).toBeInstanceOf(ConnectError);
    expect(callsOf(server, "account.UpdateStatus")).toEqual([]);
  });
});

describe("initConnection refused", () => {
  test("420 FLOOD_WAIT: the session cools, the next serves", async () => {
    const { server, open, toldOf } = await stage({ accounts: 2 });
    const pool = await open();
    server.fail({ account: "account1", connect: "only", code: 420, message: "FLOOD_WAIT_30" });
    for (let i = 0; i < 3; i++) expect(await within(1_000, pool.use(nameOf))).toBe("account2");
    expect(toldOf("cooled")).toMatchObject([{ id: "account1", seconds: 30 }]);
    expect(server.connections().filter(({ account }) => account === "account1")).toHaveLength(1);
    await until("it is closed", () => server.connections()[0]?.closedAt !== null);
  });

  test("400 API_ID_INVALID: no session is retired, ConnectError says why", async () => {
    const { server, open, toldOf } = await stage({ accounts: 2 });
    const pool = await open();
    server.fail({ connect: "only", code: 400, message: "API_ID_INVALID" });
    const error = await rejection(pool.use(nameOf), 1_000);
    expect(error).toBeInstanceOf(ConnectError);
    expect(error.message).toContain("API_ID_INVALID");
    expect(toldOf("died")).toEqual([]);
    expect(pool.status()).toMatchObject({ dead: 0, cooling: 2 });
    await until("all are closed", () => server.connections().every(({ closedAt }) => closedAt !== null));
  });
});
