import type { Clock } from "../common/clock.js";
import { callSafely, textOf, warn } from "../common/process-warning.js";
import { WakeTimer } from "../common/timers.js";
import type { SessionPoolEvents } from "../events.js";
import type { LogFields, Logger, LogLevel } from "../options/options.js";

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

const line = (level: LogLevel, text: string): Line => ({ level, text });

/** The messages for events; events of every lease have none. */
const LINES: Lines = {
  cooled: ({ id, seconds, method, peer }) =>
    line("info", `Session "${id}" cools down for ${seconds} s${whatFor(method ?? peer)}.`),
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

function whatFor(scope: string | undefined): string {
  return scope === undefined ? "" : ` for ${scope}`;
}

/**
 * Writes to the user's logger. In a burst the first messages are written and the others counted; a storage failure is
 * reported once, and once more when the storage works again. The first failure of a logger becomes one process warning.
 */
export class PoolLog {
  readonly #logger: Logger | undefined;
  readonly #clock: Clock;
  /** Number of messages of each kind within the window. Bounded by the number of kinds. */
  readonly #counts = new Map<string, number>();
  /** Bounded by the number of storage parts. */
  readonly #failing = new Map<StoragePart, { readonly since: number; count: number }>();
  #windowEndsAt = Number.NEGATIVE_INFINITY;
  readonly #timer: WakeTimer;
  #hasFailed = false;
  #isClosed = false;

  constructor(logger: Logger | undefined, clock: Clock) {
    this.#logger = logger;
    this.#clock = clock;
    this.#timer = new WakeTimer(clock, () => this.#endWindow());
  }

  /** Writes the message of an event, if it has one. */
  event<Name extends EventName>(name: Name, event: EventOf<Name>): void {
    const made = LINES[name]?.(event);
    if (made === undefined) return;
    const { id, ...rest } = event as { readonly id: string };
    this.write(made.level, made.text, { event: name, sessionId: id, ...rest });
  }

  /** Writes one message; `fields.event` is its kind. */
  write(level: LogLevel, text: string, fields: LogFields): void {
    if (this.#logger === undefined || this.#isClosed) return;
    this.#openWindow();
    const count = (this.#counts.get(fields.event) ?? 0) + 1;
    this.#counts.set(fields.event, count);
    if (count <= LINES_PER_WINDOW) this.#log(level, text, fields);
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
    const counts = [...this.#counts];
    this.#counts.clear();
    for (const [event, count] of counts) {
      const left = count - LINES_PER_WINDOW;
      if (left > 0)
        this.#log("warn", `${left} more "${event}" messages within a minute were suppressed.`, { event, count: left });
    }
  }

  #log(level: LogLevel, text: string, fields: LogFields): void {
    callSafely(
      () => this.#logger?.[level](text, fields),
      (error) => {
        if (!this.#hasFailed) warn(`The logger failed; further failures of it are not reported: ${textOf(error)}`);
        this.#hasFailed = true;
      },
    );
  }
}
