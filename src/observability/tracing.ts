import { type Channel, channel, tracingChannel } from "node:diagnostics_channel";
import { SessionPoolError } from "../errors.js";
import type { SessionPoolEvents } from "../events.js";
import { classifyTelegramError } from "../telegram/verdicts.js";

/** An error as traces contain it: without its message, which may name peers, and without its cause. */
export interface TraceError {
  readonly name: string;
  /** The code of a `SessionPoolError`, Telegram's code without its number, or the name of any other error. */
  readonly code: string;
  /** The code once more: what tracing systems show. */
  readonly message: string;
}

/** The fields of every message of a tracing channel. One object for the whole operation; it is completed as it goes on. */
export interface Trace {
  /** `"ok"` or the code of the error; `undefined` until the operation has ended. */
  outcome?: string;
  /** Set before the channel `error`. */
  error?: TraceError;
}

/** Messages of `telegram-session-pool:use`: `use`, `invoke`, `iterate`, each item of `map`. */
export interface UseTrace extends Trace {
  /** Number of attempts so far, failed connects included. */
  attempts: number;
  /** Session of the current attempt. */
  sessionId?: string;
}

/** Messages of `telegram-session-pool:acquire`. */
export interface AcquireTrace extends Trace {
  /** Number of the attempt of its `use`, from 1. */
  attempt: number;
  /** The methods that the session must not be cooling for. */
  readonly methods: readonly string[];
  sessionId?: string;
  /** Time until the lease, a connect included; in a failed operation the time until its error. */
  waitedMs?: number;
}

/** Messages of `telegram-session-pool:connect`. */
export interface ConnectTrace extends Trace {
  readonly sessionId: string;
}

/** Messages of `telegram-session-pool:call`: one API request, with what it waited for before it was sent. */
export interface CallTrace extends Trace {
  readonly sessionId: string;
  readonly method: string;
  /** Number of the attempt of its `use`, from 1; `undefined` for a request of the pool itself. */
  readonly attempt: number | undefined;
}

const NAME = "telegram-session-pool";

/** The part of a `TracingChannel` of Node.js that is used; its own types demand a `result` of every message. */
interface TraceChannel<Message> {
  /** Whether an operation is to be traced. To be asked before a message is created. */
  readonly hasSubscribers: boolean;
  readonly start: Channel & { runStores<Result>(message: Message, run: () => Result): Result };
  readonly end: Channel;
  readonly asyncStart: Channel;
  readonly asyncEnd: Channel;
  readonly error: Channel;
}

function traceChannel<Message extends Trace>(name: string): TraceChannel<Message> {
  return tracingChannel(`${NAME}:${name}`) as unknown as TraceChannel<Message>;
}

export const USE_CHANNEL: TraceChannel<UseTrace> = traceChannel("use");
export const ACQUIRE_CHANNEL: TraceChannel<AcquireTrace> = traceChannel("acquire");
export const CONNECT_CHANNEL: TraceChannel<ConnectTrace> = traceChannel("connect");
export const CALL_CHANNEL: TraceChannel<CallTrace> = traceChannel("call");

/**
 * Runs an operation and publishes its course as `TracingChannel.tracePromise` does, but for its result and its error: they
 * belong to the caller, and may contain what no trace must.
 */
export function trace<Message extends Trace, Result>(
  { start, end, asyncStart, asyncEnd, error }: TraceChannel<Message>,
  message: Message,
  operation: () => Result | Promise<Result>,
  onResult?: (result: Result) => void,
): Promise<Result> {
  const settle = (): void => {
    asyncStart.publish(message);
    asyncEnd.publish(message);
  };
  return start.runStores(message, () => {
    const settled = (async () => operation())().then(
      (result) => {
        message.outcome = "ok";
        onResult?.(result);
        settle();
        return result;
      },
      (failure: unknown) => {
        message.error = traceErrorOf(failure);
        message.outcome = message.error.code;
        error.publish(message);
        settle();
        throw failure;
      },
    );
    end.publish(message);
    return settled;
  });
}

function traceErrorOf(error: unknown): TraceError {
  const name = error instanceof Error ? error.name : typeof error;
  const code = error instanceof SessionPoolError ? error.code : classifyTelegramError(error).code;
  const known = code === "UNKNOWN" ? name : code;
  return { name, code: known, message: known };
}

const POINTS = {
  cooled: channel(`${NAME}:session:cooled`),
  died: channel(`${NAME}:session:died`),
  restricted: channel(`${NAME}:session:restricted`),
  recovered: channel(`${NAME}:session:recovered`),
  storageFailed: channel(`${NAME}:storage:failed`),
} as const;

type PointName = keyof typeof POINTS;

/** The message of each point, without what a trace must not contain: peers above all. */
const MESSAGES: { readonly [Name in PointName]: (event: Parameters<SessionPoolEvents[Name]>[0]) => object } = {
  cooled: ({ id, until, seconds, reason, method, peer, refusedMethod, sharedBy }) => ({
    sessionId: id,
    until,
    seconds,
    reason,
    scope: method !== undefined ? "method" : peer !== undefined ? "peer" : "session",
    method,
    refusedMethod,
    sharedBy,
  }),
  died: ({ id, reason }) => ({ sessionId: id, reason }),
  restricted: ({ id, reason }) => ({ sessionId: id, reason }),
  recovered: ({ id }) => ({ sessionId: id }),
  storageFailed: ({ error }) => ({ error: traceErrorOf(error) }),
};

/** Publishes an event of the pool to the channel of its own, if it has one and that has a subscriber. */
export function tracePoint(name: keyof SessionPoolEvents, event: unknown): void {
  if (!Object.hasOwn(POINTS, name)) return;
  const point = name as PointName;
  if (POINTS[point].hasSubscribers) POINTS[point].publish(MESSAGES[point](event as never));
}
