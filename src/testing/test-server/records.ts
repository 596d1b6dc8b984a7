import type { Authorization } from "./authorization.js";
import { CappedList } from "./capped-list.js";
import type { WaitRecord } from "./waits.js";

/** One API request that arrived. */
export interface CallRecord {
  readonly account: string;
  /** The full name of the method: `"messages.SendMessage"`. */
  readonly method: string;
  /** Whom it was about: `"user:<id>"`, `"chat:<id>"`, `"channel:<id>"`, or `null`. */
  readonly peer: string | null;
  /** When it arrived, epoch milliseconds. */
  readonly at: number;
  /** Number of the packet it came in. Rises with every packet of every connection. */
  readonly packet: number;
  /** Number of the connection it came on. */
  readonly connection: number;
  /** Whether it is the query of a connection's `initConnection`. */
  readonly isConnect: boolean;
  /** `"ok"`, the error's text, `"pending"`, `"unanswered"` (on purpose, or the connection was gone) or `"cut"`. */
  readonly outcome: string;
  /** Whether its handler ran and did not refuse. */
  readonly executed: boolean;
}

/** One message that was sent, once per execution. */
export interface MessageRecord {
  readonly account: string;
  readonly peer: string;
  readonly text: string;
  /** A 64 bit number in decimal. */
  readonly randomId: string;
  readonly at: number;
  /** Its id in the conversation. */
  readonly id: number;
}

/** One connection of one auth key. */
export interface ConnectionRecord {
  readonly account: string;
  readonly connection: number;
  /** When it was accepted, epoch milliseconds. */
  readonly openedAt: number;
  readonly closedAt: number | null;
}

/** A call that arrived during a wait of its account. */
export interface CallDuringWait extends CallRecord {
  /** The wait it fell into. */
  readonly wait: WaitRecord;
}

/** The changing part of a call record. */
export interface OpenCallRecord extends CallRecord {
  outcome: string;
  executed: boolean;
}

/** The changing part of a connection record. */
export interface OpenConnectionRecord extends ConnectionRecord {
  closedAt: number | null;
  readonly authorization: Authorization;
  /** Number of the event in which it was accepted. */
  readonly openedEvent: number;
}

/** How many connections of one auth key were open at once. */
class Peaks {
  readonly #open = new Map<Authorization, number>();
  readonly #peak = new Map<Authorization, number>();

  opened(key: Authorization): void {
    const open = (this.#open.get(key) ?? 0) + 1;
    this.#open.set(key, open);
    this.#peak.set(key, Math.max(open, this.#peak.get(key) ?? 0));
  }

  closed(key: Authorization): void {
    this.#open.set(key, (this.#open.get(key) ?? 1) - 1);
  }

  /** Of the keys with which an account is signed in. */
  of(account: string): number {
    return Math.max(0, ...[...this.#peak].filter(([key]) => key.account.name === account).map(([, peak]) => peak));
  }

  highest(): number {
    return Math.max(0, ...this.#peak.values());
  }

  /** From now on only what is open counts. */
  reset(): void {
    this.#peak.clear();
    for (const [key, open] of this.#open) if (open > 0) this.#peak.set(key, open);
  }
}

/** What happened, in the order it happened. */
export class Records {
  readonly calls: CappedList<OpenCallRecord>;
  readonly messages: CappedList<MessageRecord>;
  readonly connections: CappedList<OpenConnectionRecord>;
  readonly peaks: Peaks = new Peaks();
  #event = 0;

  /** @param limit how many calls, messages and connections are kept, each. */
  constructor(limit: number) {
    this.calls = new CappedList(limit);
    this.messages = new CappedList(limit);
    this.connections = new CappedList(limit);
  }

  /** The number of a new event: what happened later has the higher number. */
  nextEvent(): number {
    this.#event += 1;
    return this.#event;
  }

  /** Forgets everything but the connections that are open. */
  clear(): void {
    this.calls.keep(() => false);
    this.messages.keep(() => false);
    this.connections.keep((connection) => connection.closedAt === null);
    this.peaks.reset();
  }
}
