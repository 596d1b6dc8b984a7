import { describe, expect, test } from "vitest";
import { PoolLog } from "../../src/observability/pool-log.js";
import type { LogFields, Logger, LogLevel } from "../../src/options/options.js";
import { READ } from "../fakes/fake-telegram.js";
import { openPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { dead, flood } from "../fakes/telegram-errors.js";
import { VirtualClock } from "../fakes/virtual-clock.js";

interface Written {
  readonly level: LogLevel;
  readonly text: string;
  readonly fields: LogFields | undefined;
}

/** A logger that keeps what it is given. */
function persistentConnections(): {
  readonly logger: Logger;
  readonly lines: Written[];
  of(event: string): readonly Written[];
} {
  const lines: Written[] = [];
  const write = (level: LogLevel) => (text: string, fields?: LogFields) => void lines.push({ level, text, fields });
  const logger = { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
  return { logger, lines, of: (event) => lines.filter(({ fields }) => fields?.event === event) };
}

describe("logger", () => {
  test("a flood and its end - are logged once each, with structured fields", async () => {
    const { logger, of } = persistentConnections();
    const { pool, clock, telegram } = await openPool({ sessions: ["a"], logger });
    telegram.onCall = ({ number }) => {
      if (number === 1) throw flood(30);
      return "answer";
    };
    const used = watch(pool.use((client) => client.call(READ)));
    await clock.advance(31_000);
    expect(used.state).toBe("resolved");
    expect(of("cooled")).toMatchObject([
      {
        level: "info",
        text: 'Session "a" cools down for 30 s: FLOOD_WAIT of users.GetFullUser.',
        fields: { sessionId: "a", seconds: 30 },
      },
    ]);
    expect(of("recovered")).toMatchObject([{ level: "info", fields: { sessionId: "a" } }]);
  });

  test("a death - is logged as an error that says what to do", async () => {
    const { logger, of } = persistentConnections();
    const { pool, telegram, clock } = await openPool({ sessions: ["a"], logger });
    telegram.onCall = () => {
      throw dead();
    };
    watch(pool.use((client) => client.call(READ)));
    await clock.advance(10);
    expect(of("died")).toMatchObject([{ level: "error", fields: { sessionId: "a", reason: "AUTH_KEY_UNREGISTERED" } }]);
    expect(of("died")[0]?.text).toContain("update()");
  });

  test("a storage that fails - is reported once, and once more when it works again", async () => {
    const { logger, of } = persistentConnections();
    const { pool, clock, storage } = await openPool({ sessions: ["a", "b"], logger });
    storage.fateOfWrite = () => "fails";
    for (const id of ["a", "b"]) watch(pool.disable(id));
    await clock.advance(60_000);
    expect(of("storageFailed")).toMatchObject([{ level: "error", fields: { part: "records" } }]);
    storage.heal();
    await clock.advance(60_000);
    expect(of("storageRecovered")).toMatchObject([{ level: "info", fields: { part: "records" } }]);
  });

  test("a synchronization that fails - is one line, too", async () => {
    const { logger, of } = persistentConnections();
    const { clock, storage } = await openPool({ sessions: ["a"], logger });
    storage.fateOfList = () => "fails";
    await clock.advance(120_000);
    storage.heal();
    await clock.advance(30_000);
    expect(of("storageFailed")).toMatchObject([{ fields: { part: "changes" } }]);
    expect(of("storageRecovered")).toMatchObject([{ fields: { part: "changes" } }]);
  });

  test("a client that does not close - is a warning without secrets", async () => {
    const { logger, of } = persistentConnections();
    const { pool, telegram } = await openPool({ logger });
    const proxy = { ip: "127.0.0.1", port: 1, socksType: 5, password: "pass-word" } as const;
    await pool.add("a", sessionString("a"), { profile: { proxy } });
    telegram.onClose = () => {
      throw new Error("no goodbye for pass-word");
    };
    await pool.use((client) => client.call(READ));
    await pool.destroy();
    expect(of("closeFailed")).toMatchObject([{ level: "warn", fields: { sessionId: "a" } }]);
    expect(of("closeFailed")[0]?.text).toContain("no goodbye for [redacted]");
  });

  test("connections - are logged at debug level", async () => {
    const { logger, lines } = persistentConnections();
    const { pool } = await openPool({ sessions: ["a"], logger });
    await pool.use((client) => client.call(READ));
    await pool.close();
    expect(lines.map(({ level, fields }) => [level, fields?.event])).toEqual([
      ["debug", "connected"],
      ["debug", "disconnected"],
    ]);
  });
});

describe("PoolLog", () => {
  test("many lines at once - writes the first ones and counts the rest for a minute", async () => {
    const { logger, lines } = persistentConnections();
    const clock = new VirtualClock();
    const log = new PoolLog(logger, clock);
    for (let session = 0; session < 500; session++) log.event("recovered", { id: `s${session}` });
    log.event("died", { id: "s1", reason: "AUTH_KEY_UNREGISTERED" });
    expect(lines).toHaveLength(21);
    await clock.advance(60_000);
    expect(lines.slice(21)).toEqual([
      {
        level: "info",
        text: '480 more "recovered" messages within a minute.',
        fields: { event: "recovered", repeated: 480 },
      },
    ]);
    log.event("recovered", { id: "s0" });
    expect(lines).toHaveLength(23);
    log.close();
    expect(clock.pending).toBe(0);
  });

  test("close() - writes the counts, and nothing after it", () => {
    const { logger, lines } = persistentConnections();
    const clock = new VirtualClock();
    const log = new PoolLog(logger, clock);
    for (let session = 0; session < 30; session++) log.event("recovered", { id: `s${session}` });
    log.close();
    log.event("recovered", { id: "late" });
    expect({ lines: lines.length, lastFields: lines.at(-1)?.fields, pendingTimers: clock.pending }).toEqual({
      lines: 21,
      lastFields: { event: "recovered", repeated: 10 },
      pendingTimers: 0,
    });
  });
});
