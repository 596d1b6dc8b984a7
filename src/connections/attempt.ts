import type { CooldownScope } from "../state/cooldowns.js";

/** How far one request of an attempt has come. */
export interface CallObserver {
  /** It is on its way: from now on it may have taken effect. */
  sent(): void;
  /** Telegram has granted it. */
  granted(): void;
  /** Telegram has answered it with an error. */
  failed(error: unknown): void;
  /** It failed, and not by an answer of Telegram's. */
  broke(error: unknown): void;
  /** It was refused with proof that it had no effect; `scope` is what it cooled, or what held it back. */
  refused(scope?: CooldownScope): void;
}

/** What a trace has to know of its request. */
export interface TracedRequest {
  readonly isRead: boolean;
  /** Whether it carries a part of a file. */
  readonly isTransfer: boolean;
}

/** What a lease's requests are held against when they are refused. */
export interface AttemptTracker {
  trace(request: TracedRequest): CallObserver;
  /** A write is about to be sent: what it has to wait for, if anything. When that fails it is not sent. */
  beforeWrite?(): Promise<void> | undefined;
  /** Whether the work may be, and can be, run on another session at once. */
  shouldRotate(scope: CooldownScope): boolean;
  /** Whether a file is half transferred, which no other session can go on with, and the caller would wait so long. */
  isWorthStaying(waitMs: number): boolean;
}

const NOOP_OBSERVER: CallObserver = {
  sent: () => {},
  granted: () => {},
  failed: () => {},
  broke: () => {},
  refused: () => {},
};

/** Who has to know of a job's writes. */
export interface WriteObserver {
  /** A write is about to be sent, and waits for this. */
  beforeWrite(): Promise<void> | undefined;
  /** Nothing that the last attempt sent can have taken effect. */
  onNoEffect(): void;
  /** A request failed, and not by an answer of Telegram's. */
  broke(error: unknown): void;
}

/** For a lease that no rotation watches: nothing of it is ever repeated. */
export const NOOP_TRACKER: AttemptTracker = {
  trace: () => NOOP_OBSERVER,
  shouldRotate: () => false,
  isWorthStaying: () => false,
};

/** What an attempt asks of the job it is part of. */
export interface AttemptPolicy {
  /** Whether another session could take over now. */
  hasAlternative(attempt: Attempt, scope: CooldownScope): boolean;
  /** Whether the job's caller would wait so long rather than get an error. */
  wouldWait(waitMs: number): boolean;
  readonly effectWatch?: WriteObserver | undefined;
}

/** One run of a job on one session: what it sent, and so whether it can be run again elsewhere. */
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
  get granted(): number {
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

  /** Follows one request. A write counts as an effect from when it is sent until it is refused. */
  trace({ isRead, isTransfer }: TracedRequest): CallObserver {
    let hasEffect = false;
    return {
      sent: () => {
        if (isRead || hasEffect) return;
        hasEffect = true;
        this.#effects++;
      },
      granted: () => {
        this.#granted++;
        this.#hasTransferred ||= isTransfer;
      },
      failed: (error) => {
        if (typeof error === "object" && error !== null) this.#answers.add(error);
      },
      broke: (error) => this.#policy.effectWatch?.broke(error),
      refused: (scope) => {
        this.#wasRefused = true;
        if (scope?.kind === "method") this.#methods.add(scope.method);
        if (scope?.kind === "peer") this.#peers.add(scope.peer);
        if (scope?.kind === "budget") {
          this.#methods.add(scope.method);
          if (scope.peer !== undefined) this.#peers.add(scope.peer);
        }
        if (hasEffect) this.#effects--;
        hasEffect = false;
      },
    };
  }
}
