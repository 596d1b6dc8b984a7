import { addScope, type CooldownScope } from "../state/cooldowns.js";

/** One request of an attempt. */
export interface TrackedCall {
  /** Whether it is harmless to repeat: it cannot have an effect. */
  readonly isIdempotent: boolean;
  /** Whether it carries a part of a file. */
  readonly isTransfer: boolean;
  /** Whether it may have taken effect. Kept by the tracker, `false` at first. */
  hasEffect: boolean;
}

/** Follows the requests of a lease. */
export interface AttemptTracker {
  /** It is on its way: from now on a write may have taken effect. */
  sent(call: TrackedCall): void;
  /** Telegram has granted it. */
  granted(call: TrackedCall): void;
  /** It was refused with proof that it had no effect; `scope` is what it cooled, or what held it back. */
  refused(call: TrackedCall, scope?: CooldownScope): void;
  /** Telegram has answered a request with this error. */
  failed(error: unknown): void;
  /** A request failed, but not by an answer of Telegram's. */
  broke(error: unknown): void;
  /** A write is about to be sent: what it has to wait for, if anything. It is not sent when that rejects. */
  beforeWrite?(): Promise<void> | undefined;
  /** Whether the work may be, and can be, run on another session at once. */
  shouldRotate(scope: CooldownScope): boolean;
  /** Whether a file is half transferred, which no other session can continue, and the caller would wait that long. */
  isWorthStaying(waitMs: number): boolean;
}

/** Observes the writes of a job. */
export interface WriteObserver {
  /** A write is about to be sent, and waits for this. */
  beforeWrite(): Promise<void> | undefined;
  /** Nothing that the last attempt sent can have taken effect. */
  onNoEffect(): void;
  /** A request failed, but not by an answer of Telegram's. */
  broke(error: unknown): void;
}

/** For a lease without rotation: nothing of it is ever repeated. */
export const NOOP_TRACKER: AttemptTracker = {
  sent: () => {},
  granted: () => {},
  refused: () => {},
  failed: () => {},
  broke: () => {},
  shouldRotate: () => false,
  isWorthStaying: () => false,
};

/** What an attempt asks of its job. */
export interface AttemptPolicy {
  /** Whether another session could take over now. */
  hasAlternative(attempt: Attempt, scope: CooldownScope): boolean;
  /** Whether the job's caller would rather wait that long than get an error. */
  wouldWait(waitMs: number): boolean;
  readonly effectWatch?: WriteObserver | undefined;
}

/** One run of a job on one session: what it sent, and hence whether it can be run again on another one. */
export class Attempt implements AttemptTracker {
  readonly #policy: AttemptPolicy;
  #effects = 0;
  #granted = 0;
  #hasTransferred = false;
  #wasRefused = false;
  readonly #answers = new WeakSet<object>();
  /** Bound: the methods that one attempt calls. */
  readonly #methods = new Set<string>();
  /** Bound: the peers that one attempt calls. */
  readonly #peers = new Set<string>();

  constructor(policy: AttemptPolicy) {
    this.#policy = policy;
  }

  /** Whether nothing it sent can have taken effect. */
  get hasNoEffects(): boolean {
    return this.#effects === 0;
  }

  /** How many of its requests Telegram has granted. */
  get grantedCount(): number {
    return this.#granted;
  }

  /** Whether any request was refused: an error of the work can only be about the session if so. */
  get hadRefusal(): boolean {
    return this.#wasRefused;
  }

  /** Whether Telegram has answered a request with this very error. */
  isTelegramError(error: unknown): boolean {
    return typeof error === "object" && error !== null && this.#answers.has(error);
  }

  /** Methods that were refused on this session alone. */
  get refusedMethods(): ReadonlySet<string> {
    return this.#methods;
  }

  /** Peers that were refused on this session alone. */
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
