/**
 * How soon a process notices what another one does with the sessions that they share, while somebody waits; and what
 * watching for it costs a process in which nothing happens.
 *
 *     npm run build && npx tsx bench/hand-over.ts [rounds] [seconds] [sessions]
 *
 * A process changes a session at a random moment; the time runs from there (a session is given up: from `release()`; other
 * changes: from when they are acknowledged) until the other process sees it. A hand-over ends when the waiting caller
 * has its lease. Then processes with a pool of that many sessions do nothing for that many seconds, side by side: the
 * CPU time of each, as a share of one core.
 *
 * Redis and Postgres at `REDIS_URL` and `POSTGRES_URL`, or their usual ports on this machine. `BETTER_SQLITE3` is the path of
 * that package, if its handles are to be measured, too.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import pg from "pg";
import { type Lease, SessionPool, type SessionStorage } from "telegram-session-pool";
import { postgres } from "telegram-session-pool/postgres";
import { redis } from "telegram-session-pool/redis";
import { type SqliteHandle, sqlite } from "telegram-session-pool/sqlite";
import { sessionString } from "../test/fakes/sessions.js";
import { makePlace, type Place, type PlaceAddress } from "../test/ownership/processes/places.js";
import { nothing } from "./nothing-client.js";

const ROUNDS = Number(process.argv[2] ?? 20);
const IDLE_SECONDS = Number(process.argv[3] ?? 60);
const SESSIONS = Number(process.argv[4] ?? 100);
/** Longer than any watch pauses, so that changes come at every moment of its pause. */
const RANDOM_PAUSE_MS = 1_100;
/** What a process does before it idles: timers of the start, the first compilation. */
const SETTLING_MS = 5_000;

/** How a process opens the storage. */
type Opening = "path" | "node:sqlite handle" | "better-sqlite3 handle";

interface Orders {
  readonly address: PlaceAddress;
  readonly opening: Opening;
  readonly isWatching?: boolean;
}

type Change = "add" | "hold" | "release" | "cool" | "disable" | "remove";

interface Reply {
  readonly at: number;
  readonly cpuMs?: number;
}

/** On the same host the wall clock is one, and read at the resolution of the monotonic one. */
const now = (): number => performance.timeOrigin + performance.now();

function openStorage({ address, opening, isWatching = true }: Orders): SessionStorage {
  const storage = storageOf(address, opening);
  if (isWatching) return storage;
  return new Proxy(storage, {
    get: (target, key) => {
      const value: unknown = key === "watch" ? undefined : Reflect.get(target, key);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

function storageOf({ engine, url, name }: PlaceAddress, opening: Opening): SessionStorage {
  if (engine === "redis") return redis(new Redis(url), { prefix: name });
  if (engine === "postgres") return postgres(new pg.Pool({ connectionString: url, max: 4 }), { table: name });
  return sqlite(opening === "path" ? url : handleOf(opening, url));
}

function handleOf(opening: Opening, path: string): SqliteHandle {
  const load = createRequire(import.meta.url);
  type Database = new (path: string) => SqliteHandle & { exec(statement: string): void };
  const open: Database =
    opening === "node:sqlite handle" ? load("node:sqlite").DatabaseSync : load(process.env.BETTER_SQLITE3 ?? "");
  const handle = new open(path);
  handle.exec("PRAGMA journal_mode=WAL");
  return handle;
}

function openPool(orders: Orders): Promise<SessionPool<object>> {
  return SessionPool.open({ client: nothing, storage: openStorage(orders), idleTimeoutMs: 0 });
}

/** The other process: does what it is told, and answers when it was done. */
async function serve(orders: Orders): Promise<void> {
  const pool = await openPool(orders);
  const held = new Map<string, Lease<object>>();
  const work: Readonly<Record<Change, (id: string) => Promise<unknown>>> = {
    add: (id) => pool.add(id, sessionString(id)),
    hold: async (id) => held.set(id, await pool.acquire({ id })),
    release: async (id) => {
      const began = now();
      held.get(id)?.release();
      return began;
    },
    cool: (id) => pool.use((_, lease) => lease.coolDown(3_600), { id }),
    disable: (id) => pool.disable(id),
    remove: (id) => pool.remove(id),
  };
  process.on("message", ({ change, id }: { readonly change: Change; readonly id: string }) => {
    void work[change](id).then((began) => process.send?.({ at: typeof began === "number" ? began : now() }));
  });
  process.send?.({ at: now() });
}

/** A process in which nothing happens. */
async function idle(orders: Orders | undefined): Promise<void> {
  const pool = orders && (await openPool(orders));
  process.send?.({ at: now() });
  await once(process, "message");
  await pause(SETTLING_MS);
  const before = process.cpuUsage();
  await pause(IDLE_SECONDS * 1_000);
  const { user, system } = process.cpuUsage(before);
  process.send?.({ at: now(), cpuMs: (user + system) / 1_000 });
  await once(process, "message");
  await pool?.destroy();
  process.exit();
}

class Other {
  readonly #child: ChildProcess;

  constructor(role: "serve" | "idle", orders?: Orders) {
    this.#child = fork(fileURLToPath(import.meta.url), process.argv.slice(2), {
      execArgv: ["--import", "tsx", "--no-warnings"],
      env: { ...process.env, HAND_OVER_ROLE: role, HAND_OVER_ORDERS: JSON.stringify(orders) },
    });
  }

  async reply(): Promise<Reply> {
    const [message] = await once(this.#child, "message");
    return message as Reply;
  }

  async tell(change?: Change, id?: string): Promise<Reply> {
    this.#child.send({ change, id });
    return this.reply();
  }

  async end(): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }
}

/** Waits for something to be so in this process; resolves when it was. */
async function seen(condition: () => boolean): Promise<number> {
  while (!condition()) await pause(1);
  return now();
}

type Latencies = Readonly<Record<"handed over" | "added" | "cooled" | "disabled" | "removed", number[]>>;

async function latencies(orders: Orders, other: Other): Promise<Latencies> {
  const found: Latencies = { "handed over": [], added: [], cooled: [], disabled: [], removed: [] };
  const pool = await openPool(orders);
  const note = async (what: keyof Latencies, reply: Promise<Reply>, until: Promise<number>): Promise<void> => {
    const [{ at }, sawAt] = await Promise.all([reply, until]);
    found[what].push(Math.max(sawAt - at, 0));
    await pause(Math.random() * RANDOM_PAUSE_MS);
  };
  for (let round = 0; round < ROUNDS; round++) {
    const id = `session-${round}`;
    const stateIs = (state: string | undefined): Promise<number> => seen(() => pool.get(id)?.state === state);
    await note("added", other.tell("add", id), stateIs("free"));
    await other.tell("hold", id);
    await stateIs("foreign");
    const acquired = pool.acquire({ id });
    await pause(Math.random() * RANDOM_PAUSE_MS);
    const lease = acquired.then(() => now());
    await note("handed over", other.tell("release", id), lease);
    (await acquired).release();
    await note("cooled", other.tell("cool", id), stateIs("cooling"));
    await note("disabled", other.tell("disable", id), stateIs("disabled"));
    await note("removed", other.tell("remove", id), stateIs(undefined));
  }
  await pool.destroy();
  return found;
}

const DRIVERS: readonly (readonly [name: string, engine: PlaceAddress["engine"], opening: Opening])[] = [
  ["sqlite", "sqlite", "path"],
  ["sqlite, node:sqlite handle", "sqlite", "node:sqlite handle"],
  ["sqlite, better-sqlite3 handle", "sqlite", "better-sqlite3 handle"],
  ["redis", "redis", "path"],
  ["postgres", "postgres", "path"],
];

function isThere(opening: Opening): boolean {
  if (opening === "node:sqlite handle") return process.getBuiltinModule("node:sqlite") !== undefined;
  return opening === "path" || process.env.BETTER_SQLITE3 !== undefined;
}

async function withPlace(engine: PlaceAddress["engine"], work: (place: Place) => Promise<void>): Promise<void> {
  const place = await makePlace(engine).catch((error: unknown) => console.warn(`No ${engine}: ${error}`));
  if (place === undefined) return;
  try {
    await work(place);
  } finally {
    await place.drop();
  }
}

function textOf(times: readonly number[]): string {
  const sorted = [...times].sort((one, other) => one - other);
  const at = (share: number): string => (sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN).toFixed(0);
  return `${at(0.5)} / ${at(1)}`;
}

async function fill(orders: Orders): Promise<void> {
  const pool = await openPool(orders);
  const ids = Array.from({ length: SESSIONS }, (_, index) => `kept-${index}`);
  await pool.addMany(ids.map((id) => ({ id, session: sessionString(id) })));
  await pool.close();
}

async function measureHandOver(): Promise<void> {
  const rows: Record<string, Record<string, string>> = {};
  for (const [name, engine, opening] of DRIVERS) {
    if (!isThere(opening)) continue;
    await withPlace(engine, async ({ address }) => {
      const orders = { address, opening };
      const other = new Other("serve", orders);
      await other.reply();
      const found = await latencies(orders, other);
      await other.end();
      rows[name] = Object.fromEntries(Object.entries(found).map(([what, times]) => [what, textOf(times)]));
    });
  }
  console.log(`Milliseconds until another process sees it, median / maximum of ${ROUNDS}:`);
  console.table(rows);
}

/** Processes that idle side by side: one without a pool, and pools that differ in one thing each. */
const IDLERS = ["no pool", "no watch", "watch", "watch, a session is another's"] as const;

async function measureIdle(): Promise<void> {
  const rows: Record<string, Record<string, string>> = {};
  for (const [name, engine, opening] of DRIVERS) {
    if (!isThere(opening)) continue;
    await withPlace(engine, async ({ address }) => {
      rows[name] = await idleShares({ address, opening });
    });
  }
  console.log(
    `CPU time of a process that does nothing, % of one core, over ${IDLE_SECONDS} s with ${SESSIONS} sessions:`,
  );
  console.table(rows);
}

async function idleShares(orders: Orders): Promise<Record<string, string>> {
  // Two places: a claim in the storage is seen by every process that shares it.
  const place = await makePlace(orders.address.engine);
  const claimed = { ...orders, address: place.address };
  await fill(orders);
  await fill(claimed);
  const holder = new Other("serve", claimed);
  await holder.reply();
  await holder.tell("hold", "kept-0");
  const idlers = [undefined, { ...orders, isWatching: false }, orders, claimed].map(
    (given) => new Other("idle", given),
  );
  for (const idler of idlers) await idler.reply();
  const replies = await Promise.all(idlers.map((idler) => idler.tell()));
  for (const other of [holder, ...idlers]) await other.end();
  await place.drop();
  const shares = replies.map(({ cpuMs = Number.NaN }) => (cpuMs / IDLE_SECONDS / 10).toFixed(3));
  return Object.fromEntries(IDLERS.map((idler, index) => [idler, shares[index] ?? ""]));
}

const role = process.env.HAND_OVER_ROLE;
const given = process.env.HAND_OVER_ORDERS;
const orders = given === undefined ? undefined : (JSON.parse(given) as Orders);
if (role === "serve" && orders !== undefined) await serve(orders);
else if (role === "idle") await idle(orders);
else {
  await measureHandOver();
  await measureIdle();
  process.exit();
}
