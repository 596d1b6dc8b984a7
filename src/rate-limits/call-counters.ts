import type { CallLimit } from "../options/budgets.js";
import { budgetKey } from "../state/cooldowns.js";

/** A limit that applies to a call. */
export interface AppliedLimit extends CallLimit {
  readonly method: string;
  /** Set if the limit is one for each peer. */
  readonly peer: string | undefined;
  /** Milliseconds for which calls are remembered: `perMs` or more. */
  readonly retentionMs: number;
}

/** A limit that permits no call before an instant. */
export interface ExhaustedLimit {
  readonly limit: AppliedLimit;
  readonly until: number;
}

/** Number of sessions, and of windows in each, that are checked for expiry with every call. */
const SWEEP_BATCH = 2;

/**
 * The recent calls of every session, by method and peer. Pure: time is an argument. The windows of sessions that no
 * longer call anything are dropped while others call, so that idle sessions cost no memory.
 */
export class CallCounters {
  readonly #sessions = new Map<string, Map<string, SlidingWindow>>();

  /** Number of sessions with recent calls. */
  get size(): number {
    return this.#sessions.size;
  }

  /** The limits that do not permit another call now. */
  exhausted(id: string, limits: readonly AppliedLimit[], now: number): readonly ExhaustedLimit[] {
    const windows = this.#sessions.get(id);
    if (windows === undefined) return [];
    const exhausted: ExhaustedLimit[] = [];
    for (const limit of limits) {
      const until = windows.get(budgetKey(limit.method, limit.peer))?.nextAllowedAt(limit) ?? 0;
      if (until > now) exhausted.push({ limit, until });
    }
    return exhausted;
  }

  /** Counts a call against the limits. */
  add(id: string, limits: readonly AppliedLimit[], now: number): void {
    this.#sweep(now);
    const windows = this.#sessions.get(id) ?? new Map<string, SlidingWindow>();
    this.#sessions.set(id, windows);
    for (const { method, peer, retentionMs } of limits) {
      const key = budgetKey(method, peer);
      const window = windows.get(key) ?? new SlidingWindow();
      windows.set(key, window);
      window.add(now, retentionMs);
    }
  }

  /** Counts the calls of several keys under one key from now on, with those that are remembered. */
  merge(keys: readonly string[], merged: string): void {
    for (const windows of this.#sessions.values()) {
      const window = SlidingWindow.of(keys.flatMap((key) => windows.get(key) ?? []));
      for (const key of keys) windows.delete(key);
      if (window !== undefined) windows.set(merged, window);
    }
  }

  /** The keys under which calls of a session are remembered. */
  keys(id: string): Iterable<string> {
    return this.#sessions.get(id)?.keys() ?? [];
  }

  /** The recent calls of a session under one key: the method, or the method and the peer. */
  window(id: string, key: string): SlidingWindow | undefined {
    return this.#sessions.get(id)?.get(key);
  }

  #sweep(now: number): void {
    sweepFirst(this.#sessions, (windows) => {
      sweepFirst(windows, (window) => !window.isExpiredAt(now));
      return windows.size > 0;
    });
  }
}

/** Checks the first values: those to keep move to the end, so that the next sweep checks others. */
function sweepFirst<Value>(values: Map<string, Value>, isKept: (value: Value) => boolean): void {
  const first: (readonly [string, Value])[] = [];
  for (const item of values) {
    first.push(item);
    if (first.length >= SWEEP_BATCH) break;
  }
  for (const [key, value] of first) {
    values.delete(key);
    if (isKept(value)) values.set(key, value);
  }
}

/** Maximum number of slots in a window. Limits up to this many calls are exact to the millisecond. */
const MAX_SLOTS = 128;

/** A number of calls at one instant. */
export interface CallsAt {
  readonly at: number;
  readonly calls: number;
}

/**
 * The instants of recent calls: a sliding window log. Unlike a token bucket it never permits more than `calls` in any
 * `perMs`, and it knows the exact instant at which the next call is permitted.
 *
 * Bounded: beyond the maximum number of slots, calls close to each other share a slot and count as the latest of them.
 * The limit still holds; the next call may have to wait a little longer.
 */
export class SlidingWindow {
  /** Number of calls in flight. */
  pending = 0;
  /** The end of the latest flood wait: calls before it are accounted for. */
  floodUntil: number = Number.NEGATIVE_INFINITY;
  #retentionMs = 0;
  #resolutionMs = 0;
  #total = 0;
  readonly #instants: number[] = [];
  readonly #counts: number[] = [];

  /** The calls of several windows. */
  static of(windows: readonly SlidingWindow[]): SlidingWindow | undefined {
    const [first] = windows;
    if (first === undefined || windows.length === 1) return first;
    const merged = new SlidingWindow();
    const calls = windows.flatMap((window) => [...window.latestFirst()]).sort((a, b) => a.at - b.at);
    const retentionMs = Math.max(...windows.map((window) => window.#retentionMs));
    for (const one of calls) for (let call = 0; call < one.calls; call++) merged.add(one.at, retentionMs);
    for (const { pending, floodUntil } of windows) {
      merged.pending += pending;
      merged.floodUntil = Math.max(merged.floodUntil, floodUntil);
    }
    return merged;
  }

  /** Number of remembered calls. */
  get total(): number {
    return this.#total;
  }

  /** Adds a call that is to be remembered for `retentionMs`. Instants MUST NOT decrease. */
  add(now: number, retentionMs: number): void {
    this.#retentionMs = retentionMs;
    this.forget(now - retentionMs);
    this.#total++;
    const last = this.#instants.length - 1;
    const previous = this.#instants[last - 1] ?? Number.NEGATIVE_INFINITY;
    if (last >= 0 && now - previous < this.#resolutionMs) this.#replace(last, now);
    else {
      this.#instants.push(now);
      this.#counts.push(1);
      if (this.#instants.length > MAX_SLOTS) this.#coarsen();
    }
  }

  /** Removes the latest call. */
  undoLast(): void {
    const last = this.#counts.length - 1;
    if (last < 0) return;
    this.#total--;
    const count = (this.#counts[last] ?? 1) - 1;
    this.#counts[last] = count;
    if (count > 0) return;
    this.#instants.pop();
    this.#counts.pop();
  }

  /** Number of calls after an instant. */
  countSince(since: number): number {
    let count = 0;
    for (let slot = this.#instants.length - 1; slot >= 0 && (this.#instants[slot] ?? 0) > since; slot--)
      count += this.#counts[slot] ?? 0;
    return count;
  }

  /** The first call after an instant. */
  firstSince(since: number): number | undefined {
    return this.#instants.find((at) => at > since);
  }

  /** Removes the calls up to an instant. */
  forget(until: number): void {
    let stale = 0;
    while (stale < this.#instants.length && (this.#instants[stale] ?? 0) <= until) {
      this.#total -= this.#counts[stale] ?? 0;
      stale++;
    }
    if (stale === 0) return;
    this.#instants.splice(0, stale);
    this.#counts.splice(0, stale);
    if (this.#instants.length === 0) this.#resolutionMs = 0;
  }

  /** The instant from which another call is within the limit; in the past if it is within the limit already. */
  nextAllowedAt({ calls, perMs }: CallLimit): number {
    if (this.#total < calls) return 0;
    let count = 0;
    for (let slot = this.#counts.length - 1; slot >= 0; slot--) {
      count += this.#counts[slot] ?? 0;
      if (count >= calls) return (this.#instants[slot] ?? 0) + perMs;
    }
    return 0;
  }

  /** Whether no call is in flight or remembered any longer. */
  isExpiredAt(now: number): boolean {
    return this.pending === 0 && (this.#instants.at(-1) ?? 0) + this.#retentionMs <= now;
  }

  /** The calls, latest first. */
  *latestFirst(): Generator<CallsAt> {
    for (let slot = this.#instants.length - 1; slot >= 0; slot--) {
      yield { at: this.#instants[slot] ?? 0, calls: this.#counts[slot] ?? 0 };
    }
  }

  #replace(slot: number, at: number): void {
    this.#instants[slot] = at;
    this.#counts[slot] = (this.#counts[slot] ?? 0) + 1;
  }

  /** Merges slots until at most half as many are left. */
  #coarsen(): void {
    const instants = this.#instants.splice(0);
    const counts = this.#counts.splice(0);
    const span = (instants.at(-1) ?? 0) - (instants[0] ?? 0);
    this.#resolutionMs = Math.max(this.#resolutionMs, (2 * span) / MAX_SLOTS);
    let first = Number.NEGATIVE_INFINITY;
    for (const [slot, at] of instants.entries()) {
      const count = counts[slot] ?? 0;
      const last = this.#instants.length - 1;
      if (last >= 0 && at - first < this.#resolutionMs) {
        this.#instants[last] = at;
        this.#counts[last] = (this.#counts[last] ?? 0) + count;
      } else {
        first = at;
        this.#instants.push(at);
        this.#counts.push(count);
      }
    }
  }
}
