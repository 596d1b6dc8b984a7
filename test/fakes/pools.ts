import { onTestFinished } from "vitest";
import type { SessionPoolEvents } from "../../src/events.js";
import type { SessionPoolOptions } from "../../src/options/options.js";
import { SessionPool } from "../../src/session-pool.js";
import { AskableTelegram, type FakeClient, FakeTelegram } from "./fake-telegram.js";
import { FaultyStorage } from "./faulty-storage.js";
import { sessionString } from "./sessions.js";
import { VirtualClock } from "./virtual-clock.js";

export { deferred } from "../../src/common/deferred.js";

/** One thing a pool told. */
export interface Told {
  readonly name: keyof SessionPoolEvents;
  readonly event: Readonly<Record<string, unknown>>;
}

/** A pool on fakes. */
export interface TestPool {
  readonly pool: SessionPool<FakeClient>;
  readonly clock: VirtualClock;
  readonly telegram: FakeTelegram;
  readonly storage: FaultyStorage;
  /** Everything the pool told, in order. */
  readonly told: readonly Told[];
  /** What was told by that name. */
  events(name: keyof SessionPoolEvents): readonly Readonly<Record<string, unknown>>[];
}

export interface TestPoolOptions extends Omit<SessionPoolOptions<FakeClient>, "client" | "storage" | "clock"> {
  /** Sessions to add, by id. */
  readonly sessions?: readonly string[];
  readonly storage?: FaultyStorage;
  readonly clock?: VirtualClock;
  readonly telegram?: FakeTelegram;
  /** Whether the pool can ask something by itself, such as whether an account is frozen. */
  readonly isAskable?: boolean;
}

const EVENTS: readonly (keyof SessionPoolEvents)[] = [
  "waiting",
  "leased",
  "released",
  "cooled",
  "backedOff",
  "recovered",
  "restricted",
  "died",
  "connected",
  "disconnected",
  "accountLearnt",
  "expiring",
  "sessionChanged",
  "ownershipLost",
  "leaked",
  "recordRejected",
  "storageFailed",
];

/** Opens a pool that lives until the test ends, with a session for each name; the name is the auth key's too. */
export async function openPool({
  sessions = [],
  isAskable = false,
  ...given
}: TestPoolOptions = {}): Promise<TestPool> {
  const { storage = new FaultyStorage(), clock = new VirtualClock(), ...options } = given;
  const telegram = given.telegram ?? (isAskable ? new AskableTelegram(clock) : new FakeTelegram(clock));
  const { telegram: _, ...rest } = { telegram, ...options };
  const pool = await SessionPool.open({ ...rest, client: telegram, storage, clock });
  const told: Told[] = [];
  for (const name of EVENTS) {
    pool.on(name, (event: object) => told.push({ name, event: event as Readonly<Record<string, unknown>> }));
  }
  for (const id of sessions) await pool.add(id, sessionString(id));
  onTestFinished(async () => {
    storage.heal();
    telegram.onClose = () => {};
    watch(pool.destroy());
    await clock.advance(60_000);
  });
  const events = (name: keyof SessionPoolEvents) => told.filter((one) => one.name === name).map(({ event }) => event);
  return { pool, clock, telegram, storage, told, events };
}

/** How a promise stands: settled with what, or still pending. */
export interface Watched<T> {
  state: "pending" | "resolved" | "rejected";
  value: T | undefined;
  error: unknown;
}

/** Watches a promise that a test does not await yet. */
export function watch<T>(promise: Promise<T>): Watched<T> {
  const watched: Watched<T> = { state: "pending", value: undefined, error: undefined };
  promise.then(
    (value) => Object.assign(watched, { state: "resolved", value }),
    (error: unknown) => Object.assign(watched, { state: "rejected", error }),
  );
  return watched;
}
