import type { Clock } from "../common/clock.js";
import { callSafely, textOf, warn } from "../common/process-warning.js";
import { WakeTimer } from "../common/timers.js";
import type { SessionPoolEvents } from "../events.js";
import type { LogFields, Logger, LogLevel } from "../options/options.js";
import { hasMethods } from "../options/validators.js";

/** A part of the storage traffic that fails and recovers by itself. */
export type StoragePart = "records" | "changes" | "peers";

type EventName = keyof SessionPoolEvents;
type EventOf<Name extends EventName> = Parameters<SessionPoolEvents[Name]>[0];

interface Line {
  readonly level: LogLevel;
  readonly text: string;
}

type Lines = { readonly [Name in EventName]?: (event: EventOf<Name>) => Line };

/** Maximum number of messages of one kind within the window; the others are counted. */
const LINES_PER_WINDOW = 20;
const WINDOW_MS = 60_000;

/** Events of which each one is written: what only an operator can repair. There are at most a few for each session. */
const ALWAYS_WRITTEN: ReadonlySet<string> = new Set<EventName>(["died", "restricted"]);

/** Messages of one event, level and refused method within the window. */
interface Kind {
  readonly level: LogLevel;
  readonly event: string;
  readonly refusedMethod: string | undefined;
  count: number;
}

const line = (level: LogLevel, text: string): Line => ({ level, text });

/** The messages for events; events of every lease have none. */
const LINES: Lines = {
  cooled: ({ id, seconds, reason, method, peer, refusedMethod }) =>
    line(
      "info",
      `Session "${id}" cools down for ${seconds} s${prefixed(" for ", method ?? peer)}: ${reason}${prefixed(" of ", refusedMethod)}.`,
    ),
  recovered: ({ id }) => line("info", `Session "${id}" is available again.`),
  restricted: ({ id, reason }) => line("warn", `Session "${id}" is restricted by Telegram: ${reason}.`),
  died: ({ id, reason }) =>
    line(
      "error",
      `Session "${id}" is dead: ${reason}. Log in again and pass the new session string to update(), or remove() it.`,
    ),
  connected: ({ id }) => line("debug", `Session "${id}" is connected.`),
  disconnected: ({ id, reason }) =>
    reason === "proxyFailed"
      ? line("warn", `The proxy of session "${id}" is not reachable; the sessions that use it retry later.`)
      : line("debug", `Session "${id}" is disconnected: ${reason}.`),
  backedOff: ({ id, reason }) => line("warn", `Session "${id}" could not connect and retries later: ${reason}.`),
  accountLearnt: ({ id, accountId }) => line("debug", `Session "${id}" belongs to account ${accountId}.`),
  expiring: ({ id, expiresAt }) =>
    line("warn", `Session "${id}" ends on ${new Date(expiresAt).toISOString()} if it stays unused.`),
  sessionChanged: ({ id }) =>
    line("debug", `Session "${id}" has another session string, other tags or another profile.`),
  ownershipLost: ({ id }) =>
    line(
      "error",
      `Ownership of session "${id}" was lost: its claim could not be renewed in time, or another process has taken it over.`,
    ),
  leaked: ({ id, heldMs }) =>
    line("warn", `A lease of session "${id}" was revoked after ${Math.round(heldMs)} ms: it was not released.`),
  recordRejected: ({ id, reason }) =>
    line("error", `The record "${id}" could not be read and was left as it is: ${reason}.`),
};

function prefixed(prefix: string, text: string | undefined): string {
  return text === undefined ? "" : prefix + text;
}

type WriteLine = (level: LogLevel, text: string, fields: LogFields) => unknown;

/**
 * Returns how messages are written to a logger, by its structure: pino and bunyan take the fields first, a `Console` would
 * print them behind the sentence, which says the same.
 */
function lineWriter(logger: Logger): WriteLine {
  if (hasMethods(logger, ["table", "group"])) return (level, text) => logger[level](text);
  // Loggers of winston can have these levels, too.
  if (hasMethods(logger, ["trace", "fatal", "child"]) && !hasMethods(logger, ["log"])) {
    const fieldsFirst = logger as unknown as Record<LogLevel, (fields: LogFields, text: string) => unknown>;
    return (level, text, fields) => fieldsFirst[level](fields, text);
  }
  return (level, text, fields) => logger[level](text, fields);
}

/**
 * Writes to the user's logger. In a burst the first messages are written and the others counted, but for deaths and
 * restrictions; a storage failure is reported once, and once more when the storage works again. The first failure of a
 * logger becomes one process warning.
 */
export class PoolLog {
  readonly #writeLine: WriteLine | undefined;
  readonly #clock: Clock;
  /** The messages within the window by kind. Bounded by the number of events and of Telegram's methods. */
  readonly #kinds = new Map<string, Kind>();
  /** Bounded by the number of storage parts. */
  readonly #failing = new Map<StoragePart, { readonly since: number; count: number }>();
  #windowEndsAt = Number.NEGATIVE_INFINITY;
  readonly #timer: WakeTimer;
  #hasFailed = false;
  #isClosed = false;

  constructor(logger: Logger | undefined, clock: Clock) {
    this.#writeLine = logger && lineWriter(logger);
    this.#clock = clock;
    this.#timer = new WakeTimer(clock, () => this.#endWindow());
  }

  /** Writes the message of an event, if it has one. */
  event<Name extends EventName>(name: Name, event: EventOf<Name>): void {
    if (this.#writeLine === undefined) return;
    const made = LINES[name]?.(event);
    if (made === undefined) return;
    const { id, ...rest } = event as { readonly id: string };
    this.write(made.level, made.text, { event: name, sessionId: id, ...rest });
  }

  /** Writes one message; `fields.event` is its kind. */
  write(level: LogLevel, text: string, fields: LogFields): void {
    if (this.#writeLine === undefined || this.#isClosed) return;
    if (ALWAYS_WRITTEN.has(fields.event)) {
      this.#log(level, text, fields);
      return;
    }
    this.#openWindow();
    const kind = this.#kindOf(level, fields);
    kind.count++;
    if (kind.count <= LINES_PER_WINDOW) this.#log(level, text, fields);
    else this.#timer.setBy(this.#windowEndsAt, this.#clock.monotonic());
  }

  /** Reports a failed callback of the user: emits a process warning and writes a message. */
  callbackFailed(text: string): void {
    warn(text);
    this.write("error", text, { event: "ruleFailed" });
  }

  /** Records that a part of the storage fails; only the first failure before `storageWorks` is written. */
  storageFailed(part: StoragePart, error: Error): void {
    const failing = this.#failing.get(part);
    if (failing !== undefined) {
      failing.count++;
      return;
    }
    this.#failing.set(part, { since: this.#clock.monotonic(), count: 1 });
    this.write("error", `The storage fails (${part}) and is retried: ${error.message}`, {
      event: "storageFailed",
      part,
      reason: error.message,
    });
  }

  /** Records that a part of the storage works; written only if it has failed before. */
  storageWorks(part: StoragePart): void {
    const failing = this.#failing.get(part);
    if (failing === undefined) return;
    this.#failing.delete(part);
    const forMs = Math.round(this.#clock.monotonic() - failing.since);
    this.write("info", `The storage works again (${part}), after ${forMs} ms and ${failing.count} failures.`, {
      event: "storageRecovered",
      part,
      forMs,
      count: failing.count,
    });
  }

  /** Writes the pending counts. Nothing is written afterwards. */
  close(): void {
    this.#endWindow();
    this.#isClosed = true;
  }

  #openWindow(): void {
    const now = this.#clock.monotonic();
    if (now < this.#windowEndsAt) return;
    this.#endWindow();
    this.#windowEndsAt = now + WINDOW_MS;
  }

  #endWindow(): void {
    this.#timer.cancel();
    this.#windowEndsAt = Number.NEGATIVE_INFINITY;
    const kinds = [...this.#kinds.values()];
    this.#kinds.clear();
    for (const { level, event, refusedMethod, count } of kinds) {
      const repeated = count - LINES_PER_WINDOW;
      if (repeated <= 0) continue;
      const text = `${repeated} more "${event}" messages${prefixed(" of ", refusedMethod)} within a minute.`;
      this.#log(level, text, { event, repeated, ...(refusedMethod === undefined ? {} : { refusedMethod }) });
    }
  }

  #kindOf(level: LogLevel, { event, refusedMethod }: LogFields): Kind {
    const method = typeof refusedMethod === "string" ? refusedMethod : undefined;
    const key = `${level} ${event} ${method}`;
    let kind = this.#kinds.get(key);
    if (kind === undefined) {
      kind = { level, event, refusedMethod: method, count: 0 };
      this.#kinds.set(key, kind);
    }
    return kind;
  }

  #log(level: LogLevel, text: string, fields: LogFields): void {
    callSafely(
      () => this.#writeLine?.(level, text, fields),
      (error) => {
        if (!this.#hasFailed) warn(`The logger failed; further failures of it are not reported: ${textOf(error)}`);
        this.#hasFailed = true;
      },
    );
  }
}
