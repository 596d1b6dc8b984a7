import type { CooldownScope } from "../cooldown-scope.js";

/** How far one request of an attempt has come. */
export interface CallTrace {
  /** It is on its way: from now on it may have taken effect. */
  sent(): void;
  /** Telegram has answered it with an error. */
  failed(error: unknown): void;
  /** It was refused with proof that it had no effect; `scope` is what it cooled, or what held it back. */
  refused(scope?: CooldownScope): void;
}

/** What a lease's requests are held against when they are refused. */
export interface RequestTracker {
  trace(isRead: boolean): CallTrace;
  /** A write is about to be sent: what it has to wait for, if anything. When that fails it is not sent. */
  beforeWrite?(): Promise<void> | undefined;
  /** Whether the work may be, and can be, run on another session at once. */
  shouldRotate(scope: CooldownScope): boolean;
}

const UNTRACED: CallTrace = { sent: () => {}, failed: () => {}, refused: () => {} };

/** Who has to know of a job's writes. */
export interface EffectWatch {
  /** A write is about to be sent, and waits for this. */
  beforeWrite(): Promise<void> | undefined;
  /** Nothing that the last attempt sent can have taken effect. */
  hadNoEffect(): void;
}

/** For a lease that no rotation watches: nothing of it is ever repeated. */
export const UNTRACKED: RequestTracker = { trace: () => UNTRACED, shouldRotate: () => false };

/** One run of a job on one session: what it sent, and so whether it can be run again elsewhere. */
export class Attempt implements RequestTracker {
  readonly #hasAlternative: (attempt: Attempt, scope: CooldownScope) => boolean;
  readonly #effectWatch: EffectWatch | undefined;
  #effects = 0;
  #wasRefused = false;
  readonly #answers = new WeakSet<object>();
  readonly #methods = new Set<string>();
  readonly #peers = new Set<string>();

  /** `hasAlternative` tells whether another session could take over now. */
  constructor(hasAlternative: (attempt: Attempt, scope: CooldownScope) => boolean, effectWatch?: EffectWatch) {
    this.#hasAlternative = hasAlternative;
    this.#effectWatch = effectWatch;
  }

  /** Whether nothing it sent can have taken effect. */
  get isClean(): boolean {
    return this.#effects === 0;
  }

  /** Whether any request was refused: an error of the work can only be about the session if so. */
  get wasRefused(): boolean {
    return this.#wasRefused;
  }

  /** Whether Telegram has answered a request with this very error. */
  isAnswer(error: unknown): boolean {
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
    return this.isClean && this.#hasAlternative(this, scope);
  }

  beforeWrite(): Promise<void> | undefined {
    return this.#effectWatch?.beforeWrite();
  }

  /** Follows one request. A write counts as an effect from when it is sent until it is refused. */
  trace(isRead: boolean): CallTrace {
    let hasEffect = false;
    return {
      sent: () => {
        if (isRead || hasEffect) return;
        hasEffect = true;
        this.#effects++;
      },
      failed: (error) => {
        if (typeof error === "object" && error !== null) this.#answers.add(error);
      },
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
