import type {
  CallDuringWait,
  CallRecord,
  ConnectionRecord,
  MessageRecord,
  OpenConnectionRecord,
  Records,
} from "./records.js";
import { findWaitViolations, type WaitedCalls, type WaitScope } from "./violations.js";
import { type WaitRecord, type Waits, waitRecord } from "./waits.js";

/** Messages that took effect more often than once. */
export interface Duplicate {
  /** What they have in common: by default the `random_id`. */
  readonly key: string;
  readonly messages: readonly MessageRecord[];
}

/** Which calls count as made in spite of a wait. */
export interface ViolationOptions {
  /** @default "session" */
  readonly scope?: WaitScope;
}

/** What two messages have in common that should have been one. */
export interface DuplicateOptions {
  /**
   * By default the `random_id`, by which Telegram itself knows a message: of one account the test server refuses the
   * second, so these are requests that two accounts have sent. A job whose function ran twice makes a `random_id` for each
   * run: where every message has a text of its own, `({ text }) => text` finds those, too.
   * @default the `random_id`
   */
  readonly key?: (message: MessageRecord) => string;
}

/** All that was recorded, and what follows from it. */
export interface TestServerReport {
  readonly calls: readonly CallRecord[];
  readonly messages: readonly MessageRecord[];
  readonly connections: readonly ConnectionRecord[];
  readonly waits: readonly WaitRecord[];
  /** Calls made in spite of a wait. */
  readonly violations: readonly CallDuringWait[];
  /** Calls that fell into a wait but were on their way before. */
  readonly inFlight: readonly CallDuringWait[];
  /** Messages with the same `random_id`. */
  readonly duplicates: readonly Duplicate[];
  /** How many connections of one auth key were open at once, at most. */
  readonly maxConnectionsPerKey: number;
}

/** The messages that have something in common which only one of them should have. */
export function duplicatesOf(
  messages: readonly MessageRecord[],
  { key = (message) => message.randomId }: DuplicateOptions = {},
): readonly Duplicate[] {
  const groups = new Map<string, MessageRecord[]>();
  for (const message of messages) {
    const group = groups.get(key(message));
    if (group === undefined) groups.set(key(message), [message]);
    else group.push(message);
  }
  const repeated = [...groups].filter(([, group]) => group.length > 1);
  return repeated.map(([common, group]) => ({ key: common, messages: group }));
}

/** The public recordings: copies, oldest first. */
export class Report {
  readonly #records: Records;
  readonly #waits: Waits;

  constructor(records: Records, waits: Waits) {
    this.#records = records;
    this.#waits = waits;
  }

  calls(): readonly CallRecord[] {
    return this.#records.calls.all().map((call) => ({ ...call }));
  }

  messages(): readonly MessageRecord[] {
    return [...this.#records.messages.all()];
  }

  connections(): readonly ConnectionRecord[] {
    return this.#records.connections.all().map(connectionRecord);
  }

  waits(): readonly WaitRecord[] {
    return this.#waits.all().map(waitRecord);
  }

  maxConnectionsPerKey(account?: string): number {
    return account === undefined ? this.#records.peaks.highest() : this.#records.peaks.of(account);
  }

  violations(options: ViolationOptions = {}): readonly CallDuringWait[] {
    return this.#judge(options).violations;
  }

  inFlight(options: ViolationOptions = {}): readonly CallDuringWait[] {
    return this.#judge(options).inFlight;
  }

  duplicates(options?: DuplicateOptions): readonly Duplicate[] {
    return duplicatesOf(this.#records.messages.all(), options);
  }

  all(options: ViolationOptions = {}): TestServerReport {
    return {
      calls: this.calls(),
      messages: this.messages(),
      connections: this.connections(),
      waits: this.waits(),
      ...this.#judge(options),
      duplicates: this.duplicates(),
      maxConnectionsPerKey: this.maxConnectionsPerKey(),
    };
  }

  #judge({ scope = "session" }: ViolationOptions): WaitedCalls {
    const opened = new Map(this.#records.connections.all().map((entry) => [entry.connection, entry.openedEvent]));
    return findWaitViolations(
      {
        calls: this.#records.calls.all(),
        windows: this.#waits.all(),
        openedEventOf: (connection) => opened.get(connection) ?? 0,
      },
      scope,
    );
  }
}

function connectionRecord({ account, connection, openedAt, closedAt }: OpenConnectionRecord): ConnectionRecord {
  return { account, connection, openedAt, closedAt };
}
