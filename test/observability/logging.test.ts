import { Console } from "node:console";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Writable } from "node:stream";
import { pino } from "pino";
import { describe, expect, test } from "vitest";
import winston from "winston";
import { aesGcm } from "../../src/encryption/sealer.js";
import { PoolLog } from "../../src/observability/pool-log.js";
import type { LogFields, Logger, LogLevel } from "../../src/options/options.js";
import { decodeRecord, encodeRecord } from "../../src/storage/record.js";
import { root } from "../examples/build.js";
import { READ, WRITE } from "../fakes/fake-telegram.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { openPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { dead, FakeRpcError, flood, peerFlood, slowMode } from "../fakes/telegram-errors.js";
import { twoHosts } from "../fakes/two-hosts.js";
import { VirtualClock } from "../fakes/virtual-clock.js";

interface Line {
  readonly level: LogLevel;
  readonly text: string;
  readonly fields: LogFields;
}

/** A logger that keeps what it is given. */
function recordingLogger(lines: Line[] = []): Logger & { readonly lines: readonly Line[] } {
  const write = (level: LogLevel) => (text: string, fields?: LogFields) =>
    void lines.push({ level, text, fields: fields ?? { event: "" } });
  return { lines, debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
}

const PROXY = { ip: "127.0.0.1", port: 1, socksType: 5 } as const;

/** What makes a pool log, by level and event as docs/logging.md lists them. */
const SCENARIOS: Readonly<Record<string, (logger: Logger) => Promise<void>>> = {
  "error died": async (logger) => {
    const { pool, telegram } = await openPool({ sessions: ["a"], logger });
    telegram.onCall = () => Promise.reject(dead());
    await pool.use((client) => client.call(READ), { wait: false }).catch(() => {});
  },
  "error ownershipLost": async (logger) => {
    const { one, clock } = await twoHosts({ logger });
    await one.pool.acquire();
    one.storage.fateOfWrite = () => "hangs";
    await clock.advance(120_000);
  },
  "error recordRejected": async (logger) => {
    const storage = new FaultyStorage();
    await storage.write("a", 0, "no record");
    const { clock } = await openPool({ storage, logger });
    await clock.advance(0);
  },
  "error keyMissing": async (logger) => {
    const storage = new FaultyStorage();
    const [older, newer] = [aesGcm(Buffer.alloc(32, 1)), aesGcm(Buffer.alloc(32, 2))];
    const first = await openPool({ storage, encryption: older, sessions: ["a"] });
    await first.pool.close();
    const locked = await storage.read("a");
    await storage.write("a", locked?.version ?? 0, null);
    const second = await openPool({ storage, encryption: newer, sessions: ["b"] });
    await second.pool.close();
    await storage.write("a", 0, locked?.data ?? "");
    await openPool({ storage, encryption: newer, logger });
  },
  "error storageFailed": async (logger) => {
    const { pool, clock, storage } = await openPool({ sessions: ["a"], logger });
    storage.fateOfWrite = () => "fails";
    watch(pool.disable("a"));
    await clock.advance(1_000);
    storage.heal();
    storage.fateOfClose = () => "fails";
    const closed = watch(pool.close());
    await clock.advance(60_000);
    expect(closed.state).toBe("resolved");
  },
  "error ruleFailed": async (logger) => {
    const waitMs = (): number => {
      throw new Error("mine");
    };
    const { pool } = await openPool({ sessions: ["a"], budgets: { waitMs, sent: () => {} }, logger });
    await pool.use((client) => client.call(READ));
  },
  "warn restricted": async (logger) => {
    const { pool, telegram } = await openPool({ sessions: ["a"], logger });
    telegram.onCall = () => Promise.reject(peerFlood());
    await pool.use((client) => client.call(WRITE), { wait: false }).catch(() => {});
  },
  "warn backedOff": async (logger) => {
    const { pool, telegram } = await openPool({ sessions: ["a"], logger });
    telegram.onConnect = () => Promise.reject(new Error("refused"));
    await pool.acquire({ id: "a" }).catch(() => {});
  },
  "warn expiring": async (logger) => {
    const { inner, clock } = await twoHosts({ logger });
    const { version = 0, data = "" } = (await inner.read("a")) ?? {};
    await inner.write("a", version, encodeRecord({ ...decodeRecord(data), expiresAt: clock.now() + 1_000 }));
    await clock.advance(60_000);
  },
  "warn leaked": async (logger) => {
    for (const traceLeases of [true, false]) {
      const { pool, clock } = await openPool({ sessions: ["a"], maxLeaseMs: 1_000, traceLeases, logger });
      await pool.acquire();
      await clock.advance(2_000);
    }
  },
  "warn disconnected": async (logger) => {
    const { pool, telegram } = await openPool({ idleTimeoutMs: 0, connectTimeoutMs: 10_000, logger });
    telegram.onConnect = () => {
      throw Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
    };
    const ids = ["a", "b", "c"];
    for (const id of ids) await pool.add(id, sessionString(id), { profile: { proxy: PROXY } });
    for (const id of ids) await pool.acquire({ id }).catch(() => {});
  },
  "warn closeFailed": async (logger) => {
    const { pool, telegram } = await openPool({ sessions: ["a"], logger });
    telegram.onClose = () => {
      throw new Error("no goodbye");
    };
    await pool.use((client) => client.call(READ));
    await pool.destroy();
  },
  "warn closeWaits": async (logger) => {
    const { pool, clock } = await openPool({ sessions: ["a"], logger });
    await pool.acquire();
    watch(pool.close());
    await clock.advance(1_000);
  },
  "warn unreadableWait": async (logger) => {
    const { pool, telegram } = await openPool({ sessions: ["a"], logger });
    telegram.onCall = () => Promise.reject(new FakeRpcError(420, "FLOOD_WAIT_SOON"));
    await pool.use((client) => client.call(READ), { wait: false }).catch(() => {});
  },
  "info cooled": async (logger) => {
    const { pool, telegram } = await openPool({ sessions: ["a", "b", "c"], logger });
    const fates: Readonly<Record<string, FakeRpcError>> = { a: flood(30), b: slowMode(30) };
    telegram.onCall = ({ id }) => Promise.reject(fates[id]);
    for (const id of ["a", "b"]) {
      const work = pool.use((client) => client.call(WRITE, { peer: "user:5" }), { id, retry: "none" });
      await work.catch(() => {});
    }
    const lease = await pool.acquire({ id: "c" });
    lease.coolDown(60, { method: WRITE });
    lease.release();
    const sharing = ["d", "e"].map((id) => ({ id, session: sessionString(id), accountId: "5000000001" }));
    await pool.addMany(sharing);
    telegram.onCall = () => Promise.reject(flood(30));
    await pool.use((client) => client.call(READ), { id: "d", wait: false }).catch(() => {});
  },
  "info recovered": async (logger) => {
    const { pool, clock } = await openPool({ sessions: ["a"], logger });
    const lease = await pool.acquire();
    lease.coolDown(10);
    lease.release();
    await clock.advance(11_000);
  },
  "info storageRecovered": async (logger) => {
    const { pool, clock, storage } = await openPool({ sessions: ["a"], logger });
    storage.fateOfWrite = () => "fails";
    watch(pool.disable("a"));
    await clock.advance(30_000);
    storage.heal();
    await clock.advance(60_000);
  },
  "debug connected": async (logger) => {
    const { pool } = await openPool({ sessions: ["a"], logger });
    await pool.use((client) => client.call(READ));
  },
  "debug disconnected": async (logger) => {
    const { pool } = await openPool({ sessions: ["a"], logger });
    await pool.use((client) => client.call(READ));
    await pool.close();
  },
  "debug accountLearnt": async (logger) => {
    const { inner, clock } = await twoHosts({ logger });
    const { version = 0, data = "" } = (await inner.read("a")) ?? {};
    await inner.write("a", version, encodeRecord({ ...decodeRecord(data), accountId: "5000000001" }));
    await clock.advance(60_000);
  },
  "debug sessionChanged": async (logger) => {
    const { pool } = await openPool({ sessions: ["a"], logger });
    await pool.update("a", { tags: ["other"] });
  },
};

/** What docs/logging.md says of each message: its fields, those with `?` in some messages only. */
function documentedRows(): Readonly<Record<string, readonly string[]>> {
  const page = readFileSync(join(root, "docs/logging.md"), "utf8");
  const rows = [...page.matchAll(/^\| `(\w+)` +\| `(\w+)` +\|([^|]*)\|/gm)];
  return Object.fromEntries(
    rows.map(([, level, event, fields = ""]) => [
      `${level} ${event}`,
      [...fields.matchAll(/`([\w?]+)`/g)].map(([, name]) => name ?? "").sort(),
    ]),
  );
}

/** The fields of messages of one kind; those that not all of them have are marked by `?`. */
function fieldsOf(lines: readonly Line[]): readonly string[] {
  const names = new Set(lines.flatMap(({ fields }) => Object.keys(fields)));
  names.delete("event");
  return [...names].map((name) => (lines.every(({ fields }) => name in fields) ? name : `${name}?`)).sort();
}

describe("docs/logging.md", () => {
  test("the table of messages - is what the pool logs: levels, events and fields", async () => {
    const lines: Line[] = [];
    const missed: string[] = [];
    for (const [kind, run] of Object.entries(SCENARIOS)) {
      const logger = recordingLogger();
      await run(logger);
      if (!logger.lines.some(({ level, fields }) => `${level} ${fields.event}` === kind)) missed.push(kind);
      lines.push(...logger.lines);
    }
    expect(missed).toEqual([]);
    const kindOf = ({ level, fields }: Line): string => `${level} ${fields.event}`;
    const logged = new Set(lines.map(kindOf));
    expect(
      Object.fromEntries([...logged].map((kind) => [kind, fieldsOf(lines.filter((line) => kindOf(line) === kind))])),
    ).toEqual(documentedRows());
  });

  test("the table of messages - has a scenario for every row, and no other", () => {
    expect(Object.keys(SCENARIOS).sort()).toEqual(Object.keys(documentedRows()).sort());
  });

  test("the table of messages - has every kind that the sources write", () => {
    const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".ts"))
      .map((path) => readFileSync(join(root, "src", path), "utf8"));
    const written = sources.flatMap((source) => [...source.matchAll(/\bevent: "(\w+)"/g)]);
    const log = readFileSync(join(root, "src/observability/pool-log.ts"), "utf8");
    const ofEvents = [...(/^const LINES[\s\S]*?^};/m.exec(log)?.[0] ?? "").matchAll(/^ {2}(\w+): \(/gm)];
    expect({ written: written.length > 5, ofEvents: ofEvents.length > 10 }).toEqual({ written: true, ofEvents: true });
    const kinds = new Set([...written, ...ofEvents].map(([, name = ""]) => name));
    const documented = new Set(Object.keys(documentedRows()).map((row) => row.split(" ")[1]));
    expect([...kinds].sort()).toEqual([...documented].sort());
  });
});

describe("a storm", () => {
  test("10,000 floods of one method within a minute - are 21 lines; other methods, deaths and restrictions are written", async () => {
    const { lines, ...logger } = recordingLogger();
    const clock = new VirtualClock();
    const log = new PoolLog(logger, clock);
    const cooled = (number: number, refusedMethod: string): void =>
      log.event("cooled", { id: `s${number}`, until: 1, seconds: 30, reason: "FLOOD_WAIT", refusedMethod });
    for (let number = 0; number < 10_000; number++) cooled(number, WRITE);
    cooled(0, READ);
    for (let number = 0; number < 50; number++) {
      log.event("died", { id: `s${number}`, reason: "AUTH_KEY_UNREGISTERED" });
      log.event("restricted", { id: `s${number}`, reason: "PEER_FLOOD" });
    }
    await clock.advance(60_000);
    const count = (event: string): number => lines.filter(({ fields }) => fields.event === event).length;
    expect({ cooled: count("cooled"), died: count("died"), restricted: count("restricted") }).toEqual({
      cooled: 22,
      died: 50,
      restricted: 50,
    });
    expect(lines.filter(({ fields }) => fields.refusedMethod === READ)).toHaveLength(1);
    expect(lines.at(-1)).toEqual({
      level: "info",
      text: `9980 more "cooled" messages of ${WRITE} within a minute.`,
      fields: { event: "cooled", refusedMethod: WRITE, repeated: 9_980 },
    });
  });

  test("a pool of 500 sessions that are all refused, then closed - writes 20 lines and one count", async () => {
    const logger = recordingLogger();
    const sessions = Array.from({ length: 500 }, (_, index) => `s${index}`);
    const { pool, telegram } = await openPool({ sessions, logger });
    telegram.onCall = () => Promise.reject(flood(3_600));
    await pool.use((client) => client.call(READ), { wait: false }).catch(() => {});
    await pool.close();
    const cooled = logger.lines.filter(({ fields }) => fields.event === "cooled");
    expect({ lines: cooled.length, last: cooled.at(-1)?.fields }).toEqual({
      lines: 21,
      last: { event: "cooled", refusedMethod: READ, repeated: 480 },
    });
  });
});

/** A stream that keeps what is written to it, a text for each chunk. */
function textStream(chunks: string[]): Writable {
  return new Writable({
    write(chunk, _, done) {
      chunks.push(String(chunk));
      done();
    },
  });
}

/** Floods one session of a pool with this logger, and ends the pool. */
async function floodOnce(logger: Logger): Promise<void> {
  const { pool, telegram } = await openPool({ sessions: ["a"], logger });
  telegram.onCall = () => Promise.reject(flood(30));
  await pool.use((client) => client.call(READ), { wait: false }).catch(() => {});
  await pool.close();
}

const SENTENCE = `Session "a" cools down for 30 s: FLOOD_WAIT of ${READ}.`;
const COOLED = { event: "cooled", sessionId: "a", seconds: 30, reason: "FLOOD_WAIT", refusedMethod: READ };

describe("logger", () => {
  test.each(["a logger", "its child"])("pino, %s - fields are fields, and the sentence is `msg`", async (which) => {
    const chunks: string[] = [];
    const logger = pino({ level: "info" }, textStream(chunks));
    await floodOnce(which === "a logger" ? logger : logger.child({ part: "pool" }));
    const lines = chunks.map((chunk) => JSON.parse(chunk) as object);
    expect(lines).toEqual([expect.objectContaining({ level: 30, msg: SENTENCE, ...COOLED })]);
  });

  test("winston - fields are fields, and the sentence is `message`", async () => {
    const chunks: string[] = [];
    const logger = winston.createLogger({
      level: "info",
      transports: [new winston.transports.Stream({ stream: textStream(chunks) as NodeJS.WritableStream })],
    });
    await floodOnce(logger);
    const lines = chunks.map((chunk) => JSON.parse(chunk) as object);
    expect(lines).toEqual([expect.objectContaining({ level: "info", message: SENTENCE, ...COOLED })]);
  });

  test("winston with levels named as pino's - gets the sentence first", async () => {
    const chunks: string[] = [];
    const levels = { fatal: 0, error: 1, warn: 2, info: 3, debug: 4, trace: 5 };
    const transports = [new winston.transports.Stream({ stream: textStream(chunks) as NodeJS.WritableStream })];
    await floodOnce(winston.createLogger({ levels, level: "info", transports }));
    expect(JSON.parse(chunks[0] ?? "")).toMatchObject({ message: SENTENCE, ...COOLED });
  });

  test("a Console - prints the sentence alone", async () => {
    const [out, err]: [string[], string[]] = [[], []];
    await floodOnce(new Console(textStream(out), textStream(err)));
    expect({ out: out.join(""), err: err.join("") }).toEqual({
      out: `Session "a" is connected.\n${SENTENCE}\nSession "a" is disconnected: the pool was closed.\n`,
      err: "",
    });
  });
});
