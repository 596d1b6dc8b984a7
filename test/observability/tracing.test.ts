import { AsyncLocalStorage } from "node:async_hooks";
import { subscribe, tracingChannel, unsubscribe } from "node:diagnostics_channel";
import { describe, expect, onTestFinished, test } from "vitest";
import { READ, WRITE } from "../fakes/fake-telegram.js";
import { deferred, openPool, watch } from "../fakes/pools.js";
import { dead, flood, peerFlood, slowMode } from "../fakes/telegram-errors.js";
import { recordSpans, treeOf } from "../fakes/trace-recorder.js";

/** Subscribes to a channel until the test ends. Returns its messages. */
function recordPoints(name: string): readonly unknown[] {
  const messages: unknown[] = [];
  const listener = (message: unknown): void => void messages.push(message);
  subscribe(`telegram-session-pool:${name}`, listener);
  onTestFinished(() => void unsubscribe(`telegram-session-pool:${name}`, listener));
  return messages;
}

describe("tracing channels", () => {
  test("use() - spans nest, and its attempts differ by their number", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a", "b"] });
    telegram.onCall = ({ id }) => (id === "a" ? Promise.reject(flood(40)) : "done");
    const spans = recordSpans();
    await pool.use((client) => client.call(WRITE));
    expect(treeOf(spans)).toEqual([
      "use b ok",
      "  acquire a #1 ok",
      "    connect a ok",
      `  call a ${WRITE} #1 FLOOD_WAIT`,
      "  acquire b #2 ok",
      "    connect b ok",
      `  call b ${WRITE} #2 ok`,
    ]);
    expect(spans.map(({ isEnded, hasFailed }) => [isEnded, hasFailed])).toEqual(
      spans.map(({ message }) => [true, message.outcome !== "ok"]),
    );
    expect(spans[0]?.message).toEqual({ attempts: 2, sessionId: "b", outcome: "ok" });
  });

  test("acquire() - a caller that is served by the end of another work keeps its connect; waitedMs is its wait", async () => {
    const { pool, clock } = await openPool({ sessions: ["a", "b"], maxConnected: 1 });
    const spans = recordSpans();
    const ending = deferred();
    const first = pool.use(() => ending.promise, { id: "a" });
    const second = pool.use((client) => client.call(READ), { id: "b" });
    await clock.advance(1_000);
    ending.resolve();
    await Promise.all([first, second]);
    expect(treeOf(spans)).toEqual([
      "use a ok",
      "  acquire a #1 ok",
      "    connect a ok",
      "use b ok",
      "  acquire b #1 ok",
      "    connect b ok",
      `  call b ${READ} #1 ok`,
    ]);
    const acquires = spans.filter(({ name }) => name === "acquire");
    expect(acquires.map(({ message }) => message.waitedMs)).toEqual([0, 1_000]);
  });

  test("acquire() - waitedMs is the wait of a caller that gave up, too; a use whose connects failed counts them", async () => {
    const { pool, clock, telegram } = await openPool({ sessions: ["a", "b"] });
    const leases = await Promise.all(["a", "b"].map((id) => pool.acquire({ id })));
    const spans = recordSpans();
    const late = watch(pool.acquire({ wait: 2_000 }));
    await clock.advance(3_000);
    expect(late.state).toBe("rejected");
    expect(spans[0]?.message).toMatchObject({ outcome: "ACQUIRE_TIMEOUT", waitedMs: 2_000 });
    for (const lease of leases) {
      telegram.handle(lease.id).drop();
      lease.release();
    }
    telegram.onConnect = () => Promise.reject(new Error("refused"));
    await expect(pool.use(() => undefined)).rejects.toMatchObject({ code: "CONNECT_FAILED" });
    expect(spans.find(({ name }) => name === "use")?.message).toMatchObject({ outcome: "CONNECT_FAILED", attempts: 2 });
  });

  test("errors - are traced by name and code, without what they say", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    const spans = recordSpans();
    const refused = pool.acquire({ id: "a", peer: "user:4711", tags: ["none"], wait: false });
    await expect(refused).rejects.toThrow("user:4711");
    await expect(pool.use(() => Promise.reject(new TypeError("secret")))).rejects.toThrow("secret");
    const code = "NO_SESSION_AVAILABLE";
    expect(spans.filter(({ hasFailed }) => hasFailed).map(({ message }) => message.error)).toEqual([
      { name: "NoSessionAvailableError", code, message: code },
      { name: "TypeError", code: "TypeError", message: "TypeError" },
    ]);
    expect(JSON.stringify(spans.map(({ message }) => message))).not.toMatch(/4711|secret/);
  });

  test("messages - hold no peer, no argument and no result", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    const spans = recordSpans();
    await pool.use((client) => client.call(WRITE, { peer: "user:4711" }), { peer: "user:4711" });
    expect(spans.map(({ name, message }) => [name, Object.keys(message).sort().join(" ")])).toEqual([
      ["use", "attempts outcome sessionId"],
      ["acquire", "attempt methods outcome sessionId waitedMs"],
      ["connect", "outcome sessionId"],
      ["call", "attempt method outcome sessionId"],
    ]);
    expect(JSON.stringify(spans.map(({ message }) => message))).not.toContain("4711");
  });

  test("one channel alone - is traced alone", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    const spans = recordSpans(["call"]);
    await pool.use((client) => client.call(READ));
    expect(treeOf(spans)).toEqual([`call a ${READ} #1 ok`]);
  });
});

describe("points", () => {
  test("session:cooled and session:recovered - name the scope of a cooldown, and no peer", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a"] });
    const [cooled, recovered] = [recordPoints("session:cooled"), recordPoints("session:recovered")];
    telegram.onCall = ({ number }) => Promise.reject(number === 1 ? slowMode(30) : flood(20));
    const options = { wait: false, retry: "none" } as const;
    await pool.use((client) => client.call(WRITE, { peer: "user:4711" }), options).catch(() => {});
    await pool.use((client) => client.call(READ), options).catch(() => {});
    await clock.advance(60_000);
    expect(cooled).toMatchObject([
      { sessionId: "a", seconds: 30, reason: "SLOWMODE_WAIT", scope: "peer", refusedMethod: WRITE },
      { sessionId: "a", seconds: 20, reason: "FLOOD_WAIT", scope: "session", refusedMethod: READ },
    ]);
    expect(recovered.at(-1)).toEqual({ sessionId: "a" });
    expect(JSON.stringify(cooled)).not.toContain("4711");
  });

  test("session:died and session:restricted - name the reason", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a", "b"] });
    const [died, restricted] = [recordPoints("session:died"), recordPoints("session:restricted")];
    telegram.onCall = ({ id }) => Promise.reject(id === "a" ? dead() : peerFlood());
    for (const id of ["a", "b"]) await pool.use((client) => client.call(READ), { id, wait: false }).catch(() => {});
    expect({ died, restricted }).toEqual({
      died: [{ sessionId: "a", reason: "AUTH_KEY_UNREGISTERED" }],
      restricted: [{ sessionId: "b", reason: "PEER_FLOOD" }],
    });
  });

  test("storage:failed - names the error", async () => {
    const { pool, storage, clock } = await openPool({ sessions: ["a"] });
    const failed = recordPoints("storage:failed");
    const lease = await pool.acquire();
    storage.fateOfWrite = () => "fails";
    lease.coolDown(60);
    lease.release();
    await clock.advance(1_000);
    const code = "STORAGE_FAILED";
    expect(failed[0]).toEqual({ error: { name: "StorageError", code, message: code } });
  });
});

/** Takes what Node.js raises as uncaught until the test ends. */
function takeUncaught(): readonly unknown[] {
  const [taken, others]: [unknown[], NodeJS.UncaughtExceptionListener[]] = [[], process.listeners("uncaughtException")];
  const take = (error: unknown): void => void taken.push(error);
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", take);
  onTestFinished(() => {
    process.off("uncaughtException", take);
    for (const other of others) process.on("uncaughtException", other);
  });
  return taken;
}

describe("a subscriber that throws", () => {
  const bad = (): never => {
    throw new Error("mine");
  };

  test("to any channel, or as the transform of a store - is an uncaught exception, and changes nothing in the pool", async () => {
    const { pool, telegram, clock, events } = await openPool({ sessions: ["a", "b"] });
    const taken = takeUncaught();
    const store = new AsyncLocalStorage<object>();
    for (const name of ["use", "acquire", "connect", "call"]) {
      const channel = tracingChannel<object>(`telegram-session-pool:${name}`);
      const subscribers = { start: bad, end: bad, asyncStart: bad, asyncEnd: bad, error: bad };
      channel.subscribe(subscribers);
      channel.start.bindStore(store, bad);
      onTestFinished(() => {
        channel.unsubscribe(subscribers);
        channel.start.unbindStore(store);
      });
    }
    for (const point of ["session:cooled", "session:recovered", "session:died"]) {
      subscribe(`telegram-session-pool:${point}`, bad);
      onTestFinished(() => void unsubscribe(`telegram-session-pool:${point}`, bad));
    }
    telegram.onCall = ({ id }) => Promise.reject(id === "a" ? flood(40) : dead());
    await expect(pool.use((client) => client.call(READ), { wait: false })).rejects.toMatchObject({
      code: "NO_SESSION_AVAILABLE",
    });
    telegram.onCall = () => "done";
    await clock.advance(60_000);
    expect(await pool.use((client) => client.call(READ))).toBe("done");
    await new Promise((resolve) => setImmediate(resolve));
    expect({ leases: pool.leases(), died: events("died").length, recovered: events("recovered").length }).toEqual({
      leases: [],
      died: 1,
      recovered: 1,
    });
    expect(new Set(taken)).toHaveLength(taken.length);
    expect(taken.length).toBeGreaterThan(20);
  });
});
