import { addScope, type CooldownScope } from "../state/cooldowns.js";

/** One request of an attempt. */
export interface TrackedCall {
  /** Whether the request can be repeated without harm. */
  readonly isIdempotent: boolean;
  /** Whether the request transfers a part of a file. */
  readonly isTransfer: boolean;
  /** Whether the request may have taken effect. Maintained by the tracker; initially `false`. */
  hasEffect: boolean;
}

/** Follows the requests of a lease. */
export interface AttemptTracker {
  /** The request was sent. From now on, a write may have taken effect. */
  sent(call: TrackedCall): void;
  /** The request has succeeded. */
  granted(call: TrackedCall): void;
  /** The request was refused and has had no effect. `scope` is the cooldown that it started, or that blocked it. */
  refused(call: TrackedCall, scope?: CooldownScope): void;
  /** Telegram has answered a request with `error`. */
  failed(error: unknown): void;
  /** A request failed with an error that is not an answer from Telegram. */
  broke(error: unknown): void;
  /** Called before a write is sent. The write waits for the returned promise, and is not sent if it rejects. */
  beforeWrite?(): Promise<void> | undefined;
  /** Returns whether the work may run on another session, and one is available now. */
  shouldRotate(scope: CooldownScope): boolean;
  /** Returns whether to wait on this session: a file is partly transferred, and the caller would wait that long. */
  isWorthStaying(waitMs: number): boolean;
}

/** Observes the writes of a job. */
export interface WriteObserver {
  /** Called before a write is sent; the write waits for the returned promise. */
  beforeWrite(): Promise<void> | undefined;
  /** No request of the last attempt can have taken effect. */
  onNoEffect(): void;
  /** A request failed with an error that is not an answer from Telegram. */
  broke(error: unknown): void;
}

/** Tracker for leases without rotation, whose requests are never repeated. */
export const NOOP_TRACKER: AttemptTracker = {
  sent: () => {},
  granted: () => {},
  refused: () => {},
  failed: () => {},
  broke: () => {},
  shouldRotate: () => false,
  isWorthStaying: () => false,
};

/** Decisions that an attempt leaves to its job. */
export interface AttemptPolicy {
  /** Returns whether another session is available for the work now. */
  hasAlternative(attempt: Attempt, scope: CooldownScope): boolean;
  /** Returns whether the job's caller would wait that long instead of receiving an error. */
  wouldWait(waitMs: number): boolean;
  readonly effectWatch?: WriteObserver | undefined;
}

/** One run of a job on one session. Records what was sent, to decide whether the job may run again on another session. */
export class Attempt implements AttemptTracker {
  readonly #policy: AttemptPolicy;
  #effects = 0;
  #granted = 0;
  #hasTransferred = false;
  #wasRefused = false;
  readonly #answers = new WeakSet<object>();
  /** Bounded by the number of methods that one attempt calls. */
  readonly #methods = new Set<string>();
  /** Bounded by the number of peers that one attempt addresses. */
  readonly #peers = new Set<string>();

  constructor(policy: AttemptPolicy) {
    this.#policy = policy;
  }

  /** Whether no request of the attempt can have taken effect. */
  get hasNoEffects(): boolean {
    return this.#effects === 0;
  }

  /** Number of requests that have succeeded. */
  get grantedCount(): number {
    return this.#granted;
  }

  /** Whether any request was refused. Otherwise an error thrown by the work does not concern the session. */
  get hadRefusal(): boolean {
    return this.#wasRefused;
  }

  /** Returns whether Telegram has answered a request with this error object. */
  isTelegramError(error: unknown): boolean {
    return typeof error === "object" && error !== null && this.#answers.has(error);
  }

  /** Methods whose cooldown or rate limit on this session refused a request. */
  get refusedMethods(): ReadonlySet<string> {
    return this.#methods;
  }

  /** Peers whose cooldown or rate limit on this session refused a request. */
  get refusedPeers(): ReadonlySet<string> {
    return this.#peers;
  }

  shouldRotate(scope: CooldownScope): boolean {
    return this.hasNoEffects && this.#policy.hasAlternative(this, scope);
  }

  isWorthStaying(waitMs: number): boolean {
    return this.#hasTransferred && this.#policy.wouldWait(waitMs);
  }

  beforeWrite(): Promise<void> | undefined {
    return this.#policy.effectWatch?.beforeWrite();
  }

  sent(call: TrackedCall): void {
    if (call.isIdempotent || call.hasEffect) return;
    call.hasEffect = true;
    this.#effects++;
  }

  granted(call: TrackedCall): void {
    this.#granted++;
    this.#hasTransferred ||= call.isTransfer;
  }

  refused(call: TrackedCall, scope?: CooldownScope): void {
    this.#wasRefused = true;
    if (scope !== undefined) addScope(scope, this.#methods, this.#peers);
    if (call.hasEffect) this.#effects--;
    call.hasEffect = false;
  }

  failed(error: unknown): void {
    if (typeof error === "object" && error !== null) this.#answers.add(error);
  }

  broke(error: unknown): void {
    this.#policy.effectWatch?.broke(error);
  }
}
