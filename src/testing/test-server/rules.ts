import { TokenBuckets } from "./buckets.js";
import { type Call, methodName } from "./call.js";
import { FixedWindows } from "./fixed-windows.js";

/** Which calls a rule is about. Without a field it is about all of them. */
export interface Match {
  /** The name of an account. */
  readonly account?: string;
  /** The full name of a method, or several: `"messages.SendMessage"` or `"messages.sendMessage"`. */
  readonly method?: string | readonly string[];
  /** `"user:<id>"`, `"chat:<id>"` or `"channel:<id>"`. */
  readonly peer?: string;
  /** Whether the query of an `initConnection` is meant: not (`false`), too (`true`), or nothing else (`"only"`). @default false */
  readonly connect?: boolean | "only";
  /** A last word on each call. Not available on a test server in another process. */
  readonly when?: (call: Call) => boolean;
  /** How many matching calls pass before the rule begins. @default 0 */
  readonly skip?: number;
  /** How many calls (for packet actions: packets) it acts on, then it is over. @default Infinity */
  readonly times?: number;
}

/** Refuses the call. */
export interface FailAction {
  readonly kind: "fail";
  /** Telegram's error code. @default 420 for waits, else 400 */
  readonly code?: number;
  /** The error, for example `"FLOOD_WAIT_3"`, `"PEER_FLOOD"`, `"RPC_CALL_FAIL"`. */
  readonly message: string;
  /** Whether a wait goes on refusing, with the seconds left, until it ends. @default true */
  readonly sticky?: boolean;
  /** Whether the call takes effect all the same. @default false */
  readonly executes?: boolean;
}

/** A limit per account and method: the calls beyond it get FLOOD_WAIT_X. */
export interface LimitAction {
  readonly kind: "limit";
  /** How many calls at once. */
  readonly calls: number;
  /** In how many milliseconds that many come back. */
  readonly perMs: number;
  /**
   * `"bucket"`: they come back one by one. `"window"`: all at once, `perMs` after the first of them.
   * @default "bucket"
   */
  readonly shape?: "bucket" | "window";
  /**
   * For windows: with every refusal in a row the wait is multiplied by this factor, until a whole window has passed without
   * one. @default 1
   */
  readonly penalty?: number;
  /** The X. @default until the next call would be let through, rounded up */
  readonly waitSeconds?: number;
}

/** Takes the call and never answers it. */
export interface MuteAction {
  readonly kind: "mute";
  /** Whether the call takes effect. @default true */
  readonly executes?: boolean;
}

/** Answers late. The call takes effect when it arrives. */
export interface DelayAction {
  readonly kind: "delay";
  readonly delayMs: number;
}

/** Cuts the connection instead of answering. */
export interface CutAction {
  readonly kind: "cut";
  /** Before the call took effect, or after. */
  readonly at: "before" | "after";
}

/** Answers packets with a transport error: -404 (auth key unknown), -429 (too many connections). */
export interface TransportErrorAction {
  readonly kind: "transportError";
  readonly code: number;
  /** Every packet, or only the first of each connection. @default "packet" */
  readonly on?: "packet" | "connect";
}

/** Takes packets and does nothing at all: no call, no pong, no acknowledgement. */
export interface IgnoreAction {
  readonly kind: "ignore";
  /** Every packet, or only the first of each connection. @default "packet" */
  readonly on?: "packet" | "connect";
}

/** What a rule does. */
export type Action =
  | FailAction
  | LimitAction
  | MuteAction
  | DelayAction
  | CutAction
  | TransportErrorAction
  | IgnoreAction;

/** A rule that stands. */
export interface Rule {
  /** How many calls or packets it acted on. */
  readonly hits: number;
  /** Ends it. Twice is a no-op. A wait it opened runs on. */
  remove(): void;
}

type PacketAction = TransportErrorAction | IgnoreAction;
/** What decides a call: at most one of these. */
export type FinalAction = FailAction | MuteAction | CutAction;

/** What the rules say about a call. */
export interface Verdict {
  readonly delayMs: number;
  readonly action: FinalAction | undefined;
}

const UNTOUCHED: Verdict = { delayMs: 0, action: undefined };

class StandingRule implements Rule {
  readonly action: Action;
  readonly #match: Match;
  readonly #methods: ReadonlySet<string> | undefined;
  readonly #remove: (rule: StandingRule) => void;
  readonly #limits: TokenBuckets | FixedWindows | undefined;
  #skipped = 0;
  hits = 0;

  constructor(match: Match, action: Action, remove: (rule: StandingRule) => void) {
    this.action = action;
    this.#match = match;
    this.#methods = match.method === undefined ? undefined : new Set([match.method].flat().map(methodName));
    this.#remove = remove;
    this.#limits = action.kind === "limit" ? limitsOf(action) : undefined;
  }

  remove(): void {
    this.#remove(this);
  }

  concernsPacket(account: string): boolean {
    return this.#match.account === undefined || this.#match.account === account;
  }

  concerns(call: Call): boolean {
    const { account, peer, connect = false, when } = this.#match;
    if (account !== undefined && account !== call.account) return false;
    if (call.isConnect ? connect === false : connect === "only") return false;
    if (this.#methods !== undefined && !this.#methods.has(call.method)) return false;
    if (peer !== undefined && peer !== call.peer) return false;
    return when === undefined || when(call);
  }

  /** Counts a matching call in: whether the rule acts on it. */
  takes(): boolean {
    if (this.#skipped < (this.#match.skip ?? 0)) {
      this.#skipped += 1;
      return false;
    }
    this.#hit();
    return true;
  }

  /** The seconds a call over the limit has to wait, `undefined` within it. */
  overLimit(call: Call, now: number): number | undefined {
    const wait = this.#limits?.take(`${call.account}\n${this.#methods === undefined ? "" : call.method}`, now);
    if (wait !== undefined) this.#hit();
    return wait;
  }

  #hit(): void {
    this.hits += 1;
    if (this.hits >= (this.#match.times ?? Number.POSITIVE_INFINITY)) this.remove();
  }
}

function limitsOf(action: LimitAction): TokenBuckets | FixedWindows {
  return action.shape === "window" ? new FixedWindows(action) : new TokenBuckets(action);
}

function isPacketAction(action: Action): action is PacketAction {
  return action.kind === "transportError" || action.kind === "ignore";
}

/**
 * The rules that stand, asked in the order they were made. Of those that decide a call the first one does; delays add
 * up.
 */
export class Rules {
  #callRules: readonly StandingRule[] = [];
  #packetRules: readonly StandingRule[] = [];

  add(match: Match, action: Action): Rule {
    const rule = new StandingRule(match, action, (ended) => this.#drop(ended));
    if (isPacketAction(action)) this.#packetRules = [...this.#packetRules, rule];
    else this.#callRules = [...this.#callRules, rule];
    return rule;
  }

  /** Ends every rule. */
  clear(): void {
    this.#callRules = [];
    this.#packetRules = [];
  }

  /** What happens to a packet, `undefined` for the usual. */
  ofPacket(account: string, isFirst: boolean): PacketAction | undefined {
    for (const rule of this.#packetRules) {
      const action = rule.action;
      if (!isPacketAction(action) || !rule.concernsPacket(account)) continue;
      if (action.on === "connect" && !isFirst) continue;
      if (rule.takes()) return action;
    }
    return undefined;
  }

  /** What happens to a call. */
  ofCall(call: Call, now: number): Verdict {
    if (this.#callRules.length === 0) return UNTOUCHED;
    let delayMs = 0;
    let final: FinalAction | undefined;
    for (const rule of this.#callRules) {
      const { action } = rule;
      if (isPacketAction(action) || !rule.concerns(call)) continue;
      if (action.kind === "delay") {
        if (rule.takes()) delayMs += action.delayMs;
      } else if (final === undefined) {
        final = decide(rule, action, call, now);
      }
    }
    return { delayMs, action: final };
  }

  #drop(rule: StandingRule): void {
    this.#callRules = this.#callRules.filter((other) => other !== rule);
    this.#packetRules = this.#packetRules.filter((other) => other !== rule);
  }
}

function decide(
  rule: StandingRule,
  action: FinalAction | LimitAction,
  call: Call,
  now: number,
): FinalAction | undefined {
  if (action.kind !== "limit") return rule.takes() ? action : undefined;
  const seconds = rule.overLimit(call, now);
  return seconds === undefined ? undefined : { kind: "fail", message: `FLOOD_WAIT_${seconds}` };
}
