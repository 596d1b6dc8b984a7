/**
 * What a pool costs that holds many sessions and leases none.
 *
 *     npx tsx --expose-gc bench/open.ts [sessions]
 *
 * Time: `SessionPool.open()` against the least that could be done, the same rows selected on an open connection of the
 * same driver and `JSON.parse`d, in turn.
 *
 * Heap: what is left of `open()` after a garbage collection, per session, in a process of its own; less what the same
 * strings cost in another such process, which reads the rows in the same way and keeps nothing else of them: the id,
 * the session string, the fingerprint and the tags, in one array whose places are not counted.
 */
import { fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { formatSession, parseSession, SessionPool } from "telegram-session-pool";
import { sqlite } from "telegram-session-pool/sqlite";
import { nodeDriver } from "../adapters/storage/sqlite/handle-driver.js";
import { keyvDriver } from "../adapters/storage/sqlite/keyv-driver.js";
import type { SqliteDriver } from "../adapters/storage/sqlite/sqlite-driver.js";
import { encodeRecord, type SessionRecord } from "../src/storage/record.js";
import { authKeyFingerprint } from "../src/telegram/session-string.js";
import { nothing } from "./nothing-client.js";

const ROUNDS = 9;
const SELECT = "SELECT id, version, data FROM telegram_session_pool";
const BYTES_PER_PLACE = 8;

/** What a process is to keep whose heap is measured, and how many bytes of that are not to be counted. */
type Keep = (path: string) => Promise<{ readonly kept: object; readonly uncounted: number }>;

const KEEPS: Readonly<Record<string, Keep>> = {
  pool: async (path) => ({ kept: await openPool(path), uncounted: 0 }),
  strings: async (path) => {
    const kept = await readStrings(path);
    return { kept, uncounted: kept.length * BYTES_PER_PLACE };
  },
};

async function main(sessions: number): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "open-"));
  try {
    const path = join(folder, "sessions.db");
    await fill(path, sessions);
    const { bareMs, openMs, ratio } = await compareTime(path);
    const strings = (await heapOf("strings", path)) / sessions;
    const pool = (await heapOf("pool", path)) / sessions;
    console.table({
      "SELECT and JSON.parse, ms": bareMs.toFixed(0),
      "open(), ms": openMs.toFixed(0),
      "open(), times that": ratio.toFixed(2),
      "its strings, bytes of heap per session": strings.toFixed(0),
      "all else, bytes of heap per session": (pool - strings).toFixed(0),
    });
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Sessions that rest: every second one has a tag, every second one was used before. */
async function fill(path: string, sessions: number): Promise<void> {
  const storage = sqlite(path);
  await storage.open?.();
  await storage.close?.();
  const engine = await connect(path);
  await engine.query("BEGIN");
  for (let index = 0; index < sessions; index++) {
    const record = encodeRecord(restingSession(index));
    await engine.query("INSERT INTO telegram_session_pool VALUES (?, 1, ?)", `session-${index}`, record);
  }
  await engine.query("COMMIT");
  await engine.close();
}

function restingSession(index: number): SessionRecord {
  const server = { dcId: 2, serverAddress: "149.154.167.51", port: 443, isTest: false };
  const session = formatSession({ ...server, authKey: randomBytes(256), format: "gramjs" }, "gramjs");
  return {
    session,
    fingerprint: authKeyFingerprint(parseSession(session).authKey),
    tags: index % 2 === 0 ? ["europe"] : [],
    profile: {},
    addedAt: Date.now() - index,
    lastUsedAt: index % 4 < 2 ? null : Date.now() - ((index * 7_919) % 100_003),
    cooldown: null,
    methods: {},
    peers: {},
    restriction: null,
    deadReason: null,
    disabledReason: null,
    owner: null,
    isRemoved: false,
    accountId: null,
    isBot: null,
    expiresAt: null,
    authorizationTtlDays: null,
  };
}

async function connect(path: string): Promise<SqliteDriver> {
  return nodeDriver(path) ?? (await keyvDriver(path));
}

function openPool(path: string): Promise<SessionPool<object>> {
  return SessionPool.open({ client: nothing, storage: sqlite(path) });
}

/** A pool that has set records aside is fast and small. */
function assertWhole(pool: SessionPool<object>): void {
  const [rejected] = pool.rejected();
  if (rejected !== undefined) throw new Error(`"${rejected.id}" was set aside: ${rejected.reason}`);
}

/** The strings that a pool keeps of its sessions. */
async function readStrings(path: string): Promise<readonly string[]> {
  const engine = await connect(path);
  const rows = await engine.query(SELECT);
  await engine.close();
  const strings = rows.flatMap(({ id, data }) => {
    const { session, fingerprint, tags } = JSON.parse(String(data)) as SessionRecord;
    return [String(id), session, fingerprint, ...tags];
  });
  // An array that has grown has places to spare; its copy has none.
  return strings.slice();
}

interface Times {
  readonly bareMs: number;
  readonly openMs: number;
  readonly ratio: number;
}

/** The medians of both, in turn, so that a busy machine hurts both; and the median of how they compare in each round. */
async function compareTime(path: string): Promise<Times> {
  const rounds: Times[] = [];
  const engine = await connect(path);
  const bare = async () => (await engine.query(SELECT)).map(({ data }) => JSON.parse(String(data)));
  for (let round = 0; round < ROUNDS; round++) {
    const bareMs = await millisecondsOf(bare);
    const openMs = await millisecondsOf(
      () => openPool(path),
      (pool) => {
        assertWhole(pool);
        return pool.close();
      },
    );
    rounds.push({ bareMs, openMs, ratio: openMs / bareMs });
  }
  await engine.close();
  return {
    bareMs: median(rounds.map(({ bareMs }) => bareMs)),
    openMs: median(rounds.map(({ openMs }) => openMs)),
    ratio: median(rounds.map(({ ratio }) => ratio)),
  };
}

async function millisecondsOf<T>(work: () => Promise<T>, end: (result: T) => unknown = () => {}): Promise<number> {
  globalThis.gc?.();
  const start = performance.now();
  const result = await work();
  const elapsedMs = performance.now() - start;
  await end(result);
  return elapsedMs;
}

/** What a process of its own keeps, in bytes of its heap. */
async function heapOf(keep: string, path: string): Promise<number> {
  const child = fork(fileURLToPath(import.meta.url), [keep, path]);
  const [bytes] = (await once(child, "message")) as [number];
  await once(child, "exit");
  return bytes;
}

const held: object[] = [];

/** Measures in the process that was made for it. */
async function measureHeap(keep: Keep, path: string): Promise<void> {
  const before = await heapUsed();
  const { kept, uncounted } = await keep(path);
  const bytes = (await heapUsed()) - before - uncounted;
  held.push(kept);
  process.send?.(bytes, () => process.exit());
}

/** After a collection in a turn of its own, when no promise or frame holds what is done with. */
async function heapUsed(): Promise<number> {
  await setImmediate();
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

const [, , first = "100000", path] = process.argv;
const keep = KEEPS[first];
if (keep !== undefined && path !== undefined) await measureHeap(keep, path);
else await main(Number(first));
