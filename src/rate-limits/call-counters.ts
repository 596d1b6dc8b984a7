import type { CallLimit } from "../options/budgets.js";
import { budgetKey } from "../state/cooldowns.js";
import { SlidingWindow } from "./sliding-window.js";

/** One limit that a call is held against, and whose it is. */
export interface AppliedLimit extends CallLimit {
  readonly method: string;
  /** Set when the limit is one for each peer. */
  readonly peer: string | undefined;
  /** Milliseconds for which a call is remembered: `perMs` or more. */
  readonly retentionMs: number;
}

/** An allowance that is used up until an instant. */
export interface ExhaustedLimit {
  readonly allowance: AppliedLimit;
  readonly until: number;
}

/** Sessions, and windows of each, that are looked at with every call: those that are over go. */
const SWEEP_BATCH = 2;

/**
 * What every session has sent lately, as far as limits ask for it. Pure: time is an argument. Sessions that send
 * nothing cost nothing: their windows go while others send.
 */
export class CallCounters {
  /** One for each session that has sent lately: what is over goes while others send. */
  readonly #sessions = new Map<string, Map<string, SlidingWindow>>();

  /** Sessions that are remembered. */
  get size(): number {
    return this.#sessions.size;
  }

  /** Which of the allowances leave no room for one more call. */
  spent(id: string, allowances: readonly AppliedLimit[], now: number): readonly ExhaustedLimit[] {
    const windows = this.#sessions.get(id);
    if (windows === undefined) return [];
    const spent: ExhaustedLimit[] = [];
    for (const allowance of allowances) {
      const until = windows.get(budgetKey(allowance.method, allowance.peer))?.nextAllowedAt(allowance) ?? 0;
      if (until > now) spent.push({ allowance, until });
    }
    return spent;
  }

  /** Counts a call in. */
  add(id: string, allowances: readonly AppliedLimit[], now: number): void {
    this.#sweep(now);
    const windows = this.#sessions.get(id) ?? new Map<string, SlidingWindow>();
    this.#sessions.set(id, windows);
    for (const { method, peer, retentionMs: keepMs } of allowances) {
      const key = budgetKey(method, peer);
      const window = windows.get(key) ?? new SlidingWindow();
      windows.set(key, window);
      window.add(now, keepMs);
    }
  }

  window(id: string, method: string): SlidingWindow | undefined {
    return this.#sessions.get(id)?.get(method);
  }

  #sweep(now: number): void {
    lookAtFirst(this.#sessions, (windows) => {
      lookAtFirst(windows, (window) => !window.isExpiredAt(now));
      return windows.size > 0;
    });
  }
}

/** Looks at the first few: what is not kept goes, the rest goes to the end, so that the next look is at others. */
function lookAtFirst<Value>(values: Map<string, Value>, isKept: (value: Value) => boolean): void {
  const first = [...takeFirst(values)];
  for (const [key, value] of first) {
    values.delete(key);
    if (isKept(value)) values.set(key, value);
  }
}

function* takeFirst<Value>(values: ReadonlyMap<string, Value>): Generator<readonly [string, Value]> {
  let looked = 0;
  for (const item of values) {
    yield item;
    if (++looked >= SWEEP_BATCH) return;
  }
}
