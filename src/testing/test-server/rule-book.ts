import type {
  Action,
  CutAction,
  DelayAction,
  FailAction,
  IgnoreAction,
  LimitAction,
  Match,
  MuteAction,
  TransportErrorAction,
} from "./rules.js";

/** A rule in one object: which calls, and what happens to them. */
export type Shorthand<A extends Action> = Match & Omit<A, "kind">;

/** How an account is revoked. */
export interface RevokeOptions {
  /** @default 401 */
  readonly code?: number;
  /** @default "AUTH_KEY_UNREGISTERED" */
  readonly message?: string;
  /**
   * Whether the `initConnection` of a connect is refused already.
   *
   * @default false: Telegram needs no user to answer it, so a revoked account still connects
   */
  readonly connect?: boolean;
}

/** The ways to make a rule. Each of them is {@link RuleBook.rule} with an action. */
export abstract class RuleBook<R> {
  /**
   * Makes a rule: `action` happens to the calls (or packets) that match. Of the rules that decide a call the first one
   * made does; delays add up.
   *
   * Throws a `TypeError` for a method the library does not know.
   */
  abstract rule(match: Match, action: Action): R;

  /**
   * Limits methods by a token bucket (or a window: `shape`) per account and method: the calls over it get
   * FLOOD_WAIT_X, and so does every call of the method until X seconds are over.
   */
  limit(method: string | readonly string[], options: Omit<Shorthand<LimitAction>, "method">): R {
    return this.rule({ ...options, method }, { ...options, kind: "limit" });
  }

  /**
   * Refuses calls with an error. FLOOD_WAIT_X and its like go on refusing the account's calls of that method, with the
   * seconds left, until they end; SLOWMODE_WAIT_X those about the same peer.
   */
  fail(options: Shorthand<FailAction>): R {
    return this.rule(options, { ...options, kind: "fail" });
  }

  /** Acknowledges calls and leaves them without an answer. */
  mute(options: Shorthand<MuteAction> = {}): R {
    return this.rule(options, { ...options, kind: "mute" });
  }

  /** Answers calls late. */
  delay(options: Shorthand<DelayAction>): R {
    return this.rule(options, { ...options, kind: "delay" });
  }

  /** Cuts the connection instead of answering, before or after the call took effect. */
  cut(options: Shorthand<CutAction>): R {
    return this.rule(options, { ...options, kind: "cut" });
  }

  /** Answers packets with a transport error, -404 or -429: all of them, or the first of each connection. */
  failTransport(options: Shorthand<TransportErrorAction>): R {
    return this.rule(options, { ...options, kind: "transportError" });
  }

  /** Accepts connections and packets and stays mute: no answer, no pong, no acknowledgement. */
  ignore(options: Shorthand<IgnoreAction> = {}): R {
    return this.rule(options, { ...options, kind: "ignore" });
  }

  /** Refuses everything of an account from now on, until the rule is removed. */
  revoke(account: string, options: RevokeOptions = {}): R {
    const { code = 401, message = "AUTH_KEY_UNREGISTERED", connect = false } = options;
    return this.fail({ account, code, message, connect });
  }
}
