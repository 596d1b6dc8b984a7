import type { PoolStatus } from "../session-info.js";
import {
  CALL_BOUNDS,
  CONNECT_BOUNDS,
  Histogram,
  type HistogramSnapshot,
  STORAGE_BOUNDS,
  WAIT_BOUNDS,
} from "./histogram.js";
import type { Timeline } from "./timeline.js";

/**
 * How one transmission of a request ended: `"ok"`; `"flood"`, `"restricted"`, `"dead"` by what Telegram's error says of the
 * session; `"serverError"` (a 5xx); `"error"`, any other refusal by Telegram; `"timeout"`; `"lost"` with the connection;
 * `"unreadable"` when the answer could not be read.
 */
export type CallOutcome =
  | "ok"
  | "flood"
  | "restricted"
  | "dead"
  | "serverError"
  | "error"
  | "timeout"
  | "lost"
  | "unreadable";

/** API calls of one method that ended in one way. A request that is sent again counts again. */
export interface CallMetrics {
  /** `"other"` for a request with a name that no method has. */
  readonly method: string;
  readonly outcome: CallOutcome;
  readonly seconds: HistogramSnapshot;
}

/** Waits that Telegram asked for in answer to one method on one session. */
export interface FloodMetrics {
  readonly sessionId: string;
  /** The method that was refused; `"connect"` for a refused connect. */
  readonly method: string;
  /** Telegram's code without its number: `"FLOOD_WAIT"`, `"SLOWMODE_WAIT"`, … */
  readonly kind: string;
  readonly count: number;
  /** Sum of the waits. */
  readonly seconds: number;
}

/** How often a session died or was restricted for one reason. */
export interface ReasonMetrics {
  readonly sessionId: string;
  /** Telegram's code, or `"retired"` for `lease.retire()`. */
  readonly reason: string;
  readonly count: number;
}

/** The current figures of a pool. */
export interface PoolGauges {
  /** When it was read, in epoch milliseconds by the clock of the pool. */
  readonly readAt: number;
  readonly status: PoolStatus;
  /** Connected clients: `used` by a caller, or `idle`. */
  readonly connected: { readonly idle: number; readonly used: number };
}

/** The figures of a pool since it was first measured. Durations are in seconds. */
export interface MetricsSnapshot extends PoolGauges {
  /** From the call of `acquire` (or the start of an attempt of `use`) to its lease, a connect included. */
  readonly wait: HistogramSnapshot;
  /** From a lease to its end. */
  readonly lease: HistogramSnapshot;
  /** Successful connects. */
  readonly connect: HistogramSnapshot;
  readonly calls: readonly CallMetrics[];
  readonly floods: readonly FloodMetrics[];
  readonly deaths: readonly ReasonMetrics[];
  readonly restrictions: readonly ReasonMetrics[];
  /** How often the work of `use`, `invoke`, `iterate` or `map` moved on to a further attempt. */
  readonly rotations: number;
  /** Writes that may have taken effect without an answer that says so. */
  readonly unknownOutcomes: number;
  /** Operations of the storage, failed ones included. */
  readonly storage: HistogramSnapshot;
  /** Failures published as `storageFailed`. */
  readonly storageFailures: number;
  readonly ownershipLost: number;
}

/** Measures a pool until it is disposed of. */
export interface PoolMetrics extends Disposable {
  /** The figures as they are now. */
  read(): MetricsSnapshot;
}

interface Flood {
  readonly sessionId: string;
  readonly method: string;
  readonly kind: string;
  count: number;
  seconds: number;
}

/** Method of every request that is named as no method of Telegram's API is, or that is one too many. */
const OTHER_METHOD = "other";
/** More than Telegram's API has: the names are those of requests, which a program can make up. */
const MAX_METHODS = 2_000;
/** Source: core.telegram.org/methods, and the class names of both libraries. */
const METHOD_NAME = /^(?:[A-Za-z]{1,32}\.)?[A-Za-z][A-Za-z0-9]{0,63}$/;

/** Counts how often each session met each reason. */
class ReasonCounter {
  /** Bounded by the sessions of the pool and the codes of Telegram. */
  readonly #counts = new Map<string, { readonly sessionId: string; readonly reason: string; count: number }>();

  add(sessionId: string, reason: string): void {
    const key = `${reason} ${sessionId}`;
    const found = this.#counts.get(key);
    if (found === undefined) this.#counts.set(key, { sessionId, reason, count: 1 });
    else found.count++;
  }

  snapshot(): readonly ReasonMetrics[] {
    return Array.from(this.#counts.values(), (entry) => ({ ...entry }));
  }
}

/** Receives what happens in a pool that is measured, from the parts in which it happens. Durations are in milliseconds. */
export class MetricsRecorder {
  readonly wait: Histogram = new Histogram(WAIT_BOUNDS);
  readonly lease: Histogram = new Histogram(WAIT_BOUNDS);
  readonly connect: Histogram = new Histogram(CONNECT_BOUNDS);
  readonly storage: Histogram = new Histogram(STORAGE_BOUNDS);
  readonly deaths: ReasonCounter = new ReasonCounter();
  readonly restrictions: ReasonCounter = new ReasonCounter();
  rotations = 0;
  unknownOutcomes = 0;
  storageFailures = 0;
  ownershipLost = 0;
  /** Names of methods that are counted separately; at most {@link MAX_METHODS}. */
  readonly #methods = new Set<string>();
  /** Bounded by {@link #methods}. */
  readonly #calls = new Map<string, Map<CallOutcome, Histogram>>();
  /** Bounded by the sessions of the pool and the methods that were refused on them. */
  readonly #floods = new Map<string, Flood>();

  recordCall(method: string, outcome: CallOutcome, ms: number): void {
    const outcomes = this.#calls.get(method) ?? this.#outcomesOf(this.#known(method));
    let histogram = outcomes.get(outcome);
    if (histogram === undefined) {
      histogram = new Histogram(CALL_BOUNDS);
      outcomes.set(outcome, histogram);
    }
    histogram.record(ms);
  }

  recordFlood(sessionId: string, refusedMethod: string, kind: string, seconds: number): void {
    const method = this.#known(refusedMethod);
    const key = `${method} ${kind} ${sessionId}`;
    let flood = this.#floods.get(key);
    if (flood === undefined) {
      flood = { sessionId, method, kind, count: 0, seconds: 0 };
      this.#floods.set(key, flood);
    }
    flood.count++;
    flood.seconds += seconds;
  }

  /** The method as it is counted. */
  #known(method: string): string {
    if (this.#methods.has(method)) return method;
    if (this.#methods.size >= MAX_METHODS || !METHOD_NAME.test(method)) return OTHER_METHOD;
    this.#methods.add(method);
    return method;
  }

  #outcomesOf(method: string): Map<CallOutcome, Histogram> {
    const outcomes = this.#calls.get(method) ?? new Map<CallOutcome, Histogram>();
    this.#calls.set(method, outcomes);
    return outcomes;
  }

  snapshot(gauges: PoolGauges): MetricsSnapshot {
    const { rotations, unknownOutcomes, storageFailures, ownershipLost } = this;
    return {
      ...gauges,
      wait: this.wait.snapshot(),
      lease: this.lease.snapshot(),
      connect: this.connect.snapshot(),
      storage: this.storage.snapshot(),
      calls: [...this.#calls].flatMap(([method, outcomes]) =>
        Array.from(outcomes, ([outcome, histogram]) => ({ method, outcome, seconds: histogram.snapshot() })),
      ),
      floods: Array.from(this.#floods.values(), (flood) => ({ ...flood })),
      deaths: this.deaths.snapshot(),
      restrictions: this.restrictions.snapshot(),
      rotations,
      unknownOutcomes,
      storageFailures,
      ownershipLost,
    };
  }
}

/** Whether a pool is measured, and by what. */
export class MetricsSwitch {
  /** `undefined` while the pool is not measured: nothing is recorded then. */
  recorder: MetricsRecorder | undefined;
  /** `undefined` while the pool is not observed. Records nothing of a lease. */
  timeline: Timeline | undefined;
  #users = 0;
  #observers = 0;

  /** Starts measuring, or joins those who measure already; the last to leave ends it. */
  start(gauges: () => PoolGauges): PoolMetrics {
    this.recorder ??= new MetricsRecorder();
    const { recorder } = this;
    this.#users++;
    let isDisposed = false;
    return {
      read: () => recorder.snapshot(gauges()),
      [Symbol.dispose]: () => {
        if (isDisposed) return;
        isDisposed = true;
        if (--this.#users === 0) this.recorder = undefined;
      },
    };
  }

  /** Starts the timeline, or joins those who read it already; the last to leave ends it. Returns how to leave. */
  observe(create: () => Timeline): { readonly timeline: Timeline; readonly end: () => void } {
    const timeline = this.timeline ?? create();
    this.timeline = timeline;
    this.#observers++;
    let isEnded = false;
    const end = (): void => {
      if (isEnded) return;
      isEnded = true;
      if (--this.#observers === 0) this.timeline = undefined;
    };
    return { timeline, end };
  }
}
