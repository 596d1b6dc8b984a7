import type { Clock, Timer } from "../clock.js";
import { type Connections, Opening } from "../connections/connections.js";
import type { Ledger } from "../records/ledger.js";
import { NO_BACK_OFF } from "../roster/hindrances.js";
import type { Roster } from "../roster/roster.js";
import type { Dispatcher } from "./dispatcher.js";
import { isTelegramsWord, type Marks } from "./marks.js";
import { type KnownSession, markChanged } from "./sessions/known-session.js";
import type { SessionBook } from "./sessions/session-book.js";
import type { TimeLine } from "./time-line.js";

/** What asking for sessions needs. */
export interface ProberParts {
  readonly clock: Clock;
  readonly time: TimeLine;
  readonly probeMs: number;
  readonly book: SessionBook;
  readonly roster: Roster;
  readonly ledger: Ledger;
  readonly dispatcher: Dispatcher;
  readonly marks: Marks;
  readonly connections: () => Connections<unknown>;
}

/**
 * Asks Telegram, every `probeMs`, whether an account that it restricted, or whose session it called dead, is answered
 * again; then the session is free. One at a time: very many may have died at once. What a person has said (`disable`,
 * `retire`) nobody but a person takes back.
 */
export class Prober {
  readonly #parts: ProberParts;
  /** One for each session that may come back; that of one that was removed goes when it fires. */
  readonly #timers = new Map<string, Timer>();
  #line: Promise<void> = Promise.resolve();
  #asked: string | undefined;
  #isEnded = false;

  constructor(parts: ProberParts) {
    this.#parts = parts;
  }

  /** Whether it is asked right now: the one reason to connect it and to send with it. */
  isAsking(id: string): boolean {
    return this.#asked === id;
  }

  /** The session may have come to need to be asked. */
  look(id: string): void {
    const { book, clock, probeMs } = this.#parts;
    const known = book.get(id);
    if (this.#isEnded || !Number.isFinite(probeMs) || this.#timers.has(id) || known === undefined) return;
    if (!mayComeBack(known)) return;
    const timer = clock.setTimer(probeMs, () => {
      this.#timers.delete(id);
      this.#line = this.#line.then(() => this.#ask(id));
    });
    this.#timers.set(id, timer);
  }

  lookAtAll(): void {
    if (Number.isFinite(this.#parts.probeMs)) for (const id of this.#parts.book.ids()) this.look(id);
  }

  end(): void {
    this.#isEnded = true;
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }

  async #ask(id: string): Promise<void> {
    const known = this.#parts.book.get(id);
    if (this.#isEnded || known === undefined) return;
    if (mayComeBack(known) && this.#mayBeAsked(known)) {
      this.#asked = id;
      try {
        if (await this.#isAnswered(id)) this.#revive(known);
      } catch {
        // What it tells was taken in where it came in: it still stands, rests now, or could not connect.
      } finally {
        this.#asked = undefined;
      }
    }
    this.look(id);
  }

  #mayBeAsked(known: KnownSession): boolean {
    if (known.isLeased || known.isForeign || known.disabledReason !== null) return false;
    return known.restsUntil <= this.#parts.time.now();
  }

  async #isAnswered(id: string): Promise<boolean> {
    const connections = this.#parts.connections();
    const opening = new Opening(true);
    const connection = await connections.open(id, opening);
    let isAnswered = false;
    try {
      const { handle } = connection;
      if (handle.probe !== undefined) {
        await handle.probe();
        isAnswered = true;
      }
    } finally {
      await connections.end(opening, isAnswered ? undefined : "the session is still not to be used");
    }
    return isAnswered;
  }

  #revive(known: KnownSession): void {
    const { roster, time, dispatcher, ledger, marks } = this.#parts;
    if (!mayComeBack(known)) return;
    const now = time.now();
    marks.forgive(known.id);
    roster.restrict(known, null, now);
    roster.backOff(known, NO_BACK_OFF, now);
    roster.kill(known, null, now);
    markChanged(known, "answered");
    void ledger.save(known.id);
    dispatcher.changed();
  }
}

/** Whether Telegram has said what keeps it from work. */
function mayComeBack({ isLeaving, restriction, deadReason }: KnownSession): boolean {
  if (isLeaving) return false;
  return deadReason === null ? restriction !== null : isTelegramsWord(deadReason);
}
