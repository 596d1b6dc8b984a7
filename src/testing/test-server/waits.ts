import { CappedList } from "./capped-list.js";

/** A wait that the test server imposed on an account. */
export interface WaitRecord {
  readonly account: string;
  readonly method: string;
  /** Set when the wait is for one peer only (SLOWMODE_WAIT). */
  readonly peer: string | null;
  /** As first sent: `"FLOOD_WAIT_3"`. */
  readonly error: string;
  readonly seconds: number;
  /** When it was decided, epoch milliseconds. */
  readonly from: number;
  /** When it ends, epoch milliseconds. */
  readonly until: number;
  /** When the first answer with it was written to the socket; `null` if none was. */
  readonly toldAt: number | null;
}

/** A wait, and how far the client's knowledge of it is. */
export interface WaitWindow extends WaitRecord {
  toldAt: number | null;
  /** Number of the event in which the answer was written. */
  toldEvent: number;
  /** Number of the packet that acknowledged the answer. */
  acknowledgedEvent: number | null;
  /** Whether calls are refused until it ends. */
  readonly isEnforced: boolean;
  /** `FLOOD_WAIT_` and its like: the error without the seconds. */
  readonly prefix: string;
  /** Number of the packet whose call opened it. */
  readonly openedEvent: number;
}

const WAIT_ERROR = /^((?:FLOOD|FLOOD_PREMIUM|FLOOD_TEST_PHONE|SLOWMODE)_WAIT_)(\d+)$/;

/** The prefix and the seconds of an error that imposes a wait, else `undefined`. */
export function parseWait(error: string): { readonly prefix: string; readonly seconds: number } | undefined {
  const match = WAIT_ERROR.exec(error);
  return match?.[1] === undefined ? undefined : { prefix: match[1], seconds: Number(match[2]) };
}

/** What a wait is decided from. */
export interface WaitDecision {
  readonly account: string;
  readonly method: string;
  readonly peer: string | null;
  readonly error: string;
  readonly isEnforced: boolean;
  readonly event: number;
  readonly now: number;
}

/** Answers of one account that are remembered until they are acknowledged. */
const UNACKNOWLEDGED_KEPT = 1_000;

/** Every wait that was sent, the active ones, and the connections that have acknowledged them. */
export class Waits {
  readonly #windows: CappedList<WaitWindow>;
  /** Windows that refuse calls, by account, method and, for slow mode, peer. */
  readonly #enforced = new Map<string, WaitWindow>();
  /** Windows whose answer is not acknowledged yet, by account and message id. */
  readonly #unacknowledged = new Map<string, Map<bigint, WaitWindow>>();

  /** @param limit how many waits are kept. Those that run refuse calls whether kept or not. */
  constructor(limit: number) {
    this.#windows = new CappedList(limit);
  }

  /** Starts the wait that an error imposes, if it imposes one. */
  open(decision: WaitDecision): WaitWindow | undefined {
    const wait = parseWait(decision.error);
    if (wait === undefined) return undefined;
    const isSlowMode = wait.prefix.startsWith("SLOWMODE");
    const window: WaitWindow = {
      account: decision.account,
      method: decision.method,
      peer: isSlowMode ? decision.peer : null,
      error: decision.error,
      seconds: wait.seconds,
      from: decision.now,
      until: decision.now + wait.seconds * 1000,
      toldAt: null,
      toldEvent: Number.POSITIVE_INFINITY,
      acknowledgedEvent: null,
      isEnforced: decision.isEnforced,
      prefix: wait.prefix,
      openedEvent: decision.event,
    };
    this.#windows.add(window);
    if (window.isEnforced) this.#enforced.set(keyOf(window), window);
    return window;
  }

  /** The window that refuses a call now. */
  running(account: string, method: string, peer: string | null, now: number): WaitWindow | undefined {
    if (this.#enforced.size === 0) return undefined;
    return (
      this.#runningAt(keyOf({ account, method, peer: null }), now) ??
      (peer === null ? undefined : this.#runningAt(keyOf({ account, method, peer }), now))
    );
  }

  #runningAt(key: string, now: number): WaitWindow | undefined {
    const window = this.#enforced.get(key);
    if (window === undefined || now < window.until) return window;
    this.#enforced.delete(key);
    return undefined;
  }

  /** Records that an answer with the wait was written. */
  told(window: WaitWindow, messageId: bigint, event: number, now: number): void {
    if (window.toldAt === null) {
      window.toldAt = now;
      window.toldEvent = event;
    }
    if (window.acknowledgedEvent !== null) return;
    const ofAccount = this.#unacknowledged.get(window.account) ?? new Map<bigint, WaitWindow>();
    this.#unacknowledged.set(window.account, ofAccount.set(messageId, window));
    for (const oldest of ofAccount.keys()) {
      if (ofAccount.size <= UNACKNOWLEDGED_KEPT) break;
      ofAccount.delete(oldest);
    }
  }

  /** The account acknowledged a message. */
  acknowledge(account: string, messageId: bigint, event: number): void {
    const ofAccount = this.#unacknowledged.get(account);
    const window = ofAccount?.get(messageId);
    if (ofAccount === undefined || window === undefined) return;
    ofAccount.delete(messageId);
    window.acknowledgedEvent ??= event;
  }

  /** The waits that were sent, oldest first. */
  all(): readonly WaitWindow[] {
    return this.#windows.all();
  }

  /** Forgets the waits that are over. */
  clear(now: number): void {
    this.#windows.keep((window) => now < window.until);
  }
}

function keyOf(of: { readonly account: string; readonly method: string; readonly peer: string | null }): string {
  return `${of.account}\n${of.method}\n${of.peer ?? ""}`;
}

/** The seconds left of a window, as Telegram says them: rounded up, at least one. */
export function secondsLeft(window: WaitWindow, now: number): number {
  return Math.max(1, Math.ceil((window.until - now) / 1000));
}

/** The public view of a wait. */
export function waitRecord(window: WaitWindow): WaitRecord {
  const { account, method, peer, error, seconds, from, until, toldAt } = window;
  return { account, method, peer, error, seconds, from, until, toldAt };
}
