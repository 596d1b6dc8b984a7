import type { CallLimit } from "../../options/budgets.js";
import type { CallsAt } from "../call-counters.js";
import { MAX_SLOTS, SpentCalls } from "./spent-calls.js";

/** Windows up to this long are reserved as a whole: a crash costs no more than one of them. */
const SHORT_WINDOW_MS = 60_000;
/** Share of a longer window that is reserved at first, and the largest share after the calls have proved to be frequent. */
const FIRST_SHARE = 1 / 8;
const LARGEST_SHARE = 1 / 4;
/** Maximum number of calls that are reserved at first. */
const MAX_FIRST = 128;
/** Reserved calls that last less than this are followed by twice as many. */
const MIN_LASTING_MS = 4_000;

const MIN_HOLD_MS = 4_000;
const MAX_HOLD_MS = 30_000;

const NONE: ReadonlySet<string> = new Set();

/** A reservation to be written. */
export interface MethodDraft {
  readonly method: MethodSpending;
  readonly next: SpentCalls;
  readonly calls: number;
  readonly until: number;
  readonly isGranting: boolean;
}

/** Calls that are part of every write until the record contains them. */
interface Attempt {
  /** Number of the write that was the first to contain them. */
  readonly write: number;
  readonly calls: readonly CallsAt[];
  /** The record that they are from, if it is another one. */
  readonly source?: string | undefined;
}

/**
 * The calls of one method by one account, as far as one pool knows them. Calls are reserved in the record before they are
 * made: a crash leaves more reserved than made, never less. Pure; instants are on the time line of the record. Of `now`, the earliest that it may be, what the record
 * contains is judged, and by `latest` the calls of this pool.
 */
export class MethodSpending {
  readonly limit: CallLimit;
  readonly #pool: string;
  /** As the record contains it. */
  stored: SpentCalls = new SpentCalls();
  /** When the record was last known to contain that. */
  readAt: number = Number.NEGATIVE_INFINITY;
  /** Number of calls that may be made without a write, before `#validUntil`. */
  #allowance = 0;
  #validUntil = Number.NEGATIVE_INFINITY;
  /** Calls made since the latest write. */
  #made: CallsAt[] = [];
  /** Calls that writes without a known outcome may have stored. */
  #attempts: Attempt[] = [];
  /** Number of callers that wait for a reservation. */
  #demand = 0;
  #isEager = false;
  /** Number of calls to reserve. */
  #block: number;
  #grantedAt: number = Number.NEGATIVE_INFINITY;

  constructor(limit: CallLimit, pool: string) {
    this.limit = limit;
    this.#pool = pool;
    const isShort = limit.perMs <= SHORT_WINDOW_MS;
    this.#block = isShort ? limit.calls : Math.min(Math.ceil(limit.calls * FIRST_SHARE), MAX_FIRST);
  }

  /** Whether a call may be made without a write. */
  mayCall(latest: number): boolean {
    return this.#allowance > 0 && latest < this.#validUntil;
  }

  /** Counts a call that is made. Returns whether calls are frequent enough to reserve more of them ahead. */
  count(latest: number): boolean {
    const at = Math.ceil(latest);
    const last = this.#made.at(-1);
    this.#allowance--;
    if (last !== undefined && (last.at === at || this.#made.length >= MAX_SLOTS)) {
      this.#made[this.#made.length - 1] = { at, calls: last.calls + 1 };
    } else this.#made.push({ at, calls: 1 });
    const lasted = latest - this.#grantedAt;
    return this.#block > 1 && this.#allowance <= this.#block / 2 && lasted < 2 * MIN_LASTING_MS;
  }

  /** The instant from which one more call is within the limit as far as is known. */
  nextAllowedAt(): number {
    return this.#settled().nextAllowedAt(this.limit, this.#pool, this.readAt);
  }

  /** A caller waits for a reservation, or (`isEager`) soon will. */
  demand(isEager = false): void {
    if (isEager) this.#isEager = true;
    else this.#demand++;
  }

  /** When calls that are reserved and not made can be returned; `Infinity` if there are none. */
  get returnableAt(): number {
    return this.#allowance > 0 ? this.#validUntil : Number.POSITIVE_INFINITY;
  }

  /** Whether the record says less than this pool knows. */
  get isUnsettled(): boolean {
    return this.#made.length > 0 || this.#attempts.length > 0 || this.#allowance > 0;
  }

  /** Chooses how many calls the next write reserves. Called once, before its drafts. */
  plan(latest: number): number {
    const isWanted = this.#demand > 0 || this.#isEager;
    if (isWanted && latest - this.#grantedAt < MIN_LASTING_MS) this.#block = Math.min(this.#block * 2, this.#largest);
    else if (!isWanted && latest >= this.#validUntil && this.#allowance * 2 >= this.#block) {
      this.#block = Math.ceil(this.#block / 2);
    }
    const target = this.#demand > 0 ? this.#demand + this.#block - 1 : this.#isEager ? this.#block : 0;
    this.#demand = 0;
    this.#isEager = false;
    return target;
  }

  /** The next state of the record with `target` calls reserved, or as many as the limit permits. */
  draft(now: number, latest: number, write: number, target: number): MethodDraft {
    const { calls: most, perMs } = this.limit;
    if (this.#made.length > 0) {
      this.#attempts.push({ write, calls: this.#made });
      this.#made = [];
    }
    const next = this.#settled();
    next.holds.delete(this.#pool);
    next.prune(now, perMs);
    const left = latest < this.#validUntil ? this.#allowance : 0;
    const room = Math.max(most - next.used(now, perMs, this.#pool), 0);
    const calls = Math.min(Math.max(target, target < 0 ? 0 : left), room);
    const isGranting = calls > left;
    const until = isGranting ? latest + holdMs(perMs) : this.#validUntil;
    if (calls > 0 || this.#attempts.length > 0) {
      next.holds.set(this.#pool, { calls, until: Math.max(until, latest), write });
    }
    return { method: this, next, calls, until, isGranting };
  }

  /** The draft is about to be written: until the outcome is known, both the old and the new reservation have to cover a call. */
  begin({ calls }: MethodDraft): void {
    this.#allowance = Math.min(this.#allowance, calls);
  }

  /** The draft is on disk. */
  confirm({ next, calls, until, isGranting }: MethodDraft, now: number, latest: number): void {
    this.#attempts = [];
    this.stored = next;
    this.readAt = now;
    this.#allowance = calls - this.#made.reduce((sum, made) => sum + made.calls, 0);
    this.#validUntil = until;
    if (isGranting) this.#grantedAt = latest;
  }

  /** The record was read. `absorbed`: the other records that it contains. */
  adopt(stored: SpentCalls, now: number, absorbed: ReadonlySet<string> = NONE): void {
    this.stored = stored;
    this.readAt = now;
    const written = stored.holds.get(this.#pool)?.write ?? Number.NEGATIVE_INFINITY;
    this.#attempts = this.#attempts.filter(
      ({ write, source }) => write > written && (source === undefined || !absorbed.has(source)),
    );
  }

  /** What this pool alone knows gets new dates, because it is on another time line. */
  move(ms: number): void {
    this.#validUntil += ms;
    this.#grantedAt += ms;
    const moved = (calls: readonly CallsAt[]): CallsAt[] =>
      calls.map((made) => ({ at: Math.ceil(made.at + ms), calls: made.calls }));
    this.#made = moved(this.#made);
    this.#attempts = this.#attempts.map((attempt) => ({ ...attempt, calls: moved(attempt.calls) }));
  }

  /** Adds calls that `write` will be the first to contain; `source` is the other record that they are from. */
  absorb(calls: readonly CallsAt[], write: number, source?: string): void {
    if (calls.length > 0) this.#attempts.push({ write, calls, source });
  }

  /** The calls that the record contains, where those reserved by other pools count as made. */
  get storedCalls(): readonly CallsAt[] {
    const { holds } = this.stored;
    const reserved = [...holds].filter(([pool]) => pool !== this.#pool);
    return [...this.stored.slots(), ...reserved.map(([, { calls, until }]) => ({ calls, at: until }))];
  }

  /** The calls that the record does not contain, as far as is known. Reserved calls cannot be made any more. */
  takeUnwritten(): readonly CallsAt[] {
    const calls = [...this.#attempts, { calls: this.#made }].flatMap((attempt) => attempt.calls);
    this.#attempts = [];
    this.#made = [];
    this.#allowance = 0;
    return calls;
  }

  get #largest(): number {
    const { calls, perMs } = this.limit;
    return perMs <= SHORT_WINDOW_MS ? calls : Math.ceil(calls * LARGEST_SHARE);
  }

  /** The record with all calls that this pool knows of. */
  #settled(): SpentCalls {
    const settled = this.stored.clone();
    for (const { calls: made } of [...this.#attempts, { calls: this.#made }]) {
      for (const { at, calls } of made) settled.add(at, calls);
    }
    return settled;
  }
}

/** How long a reservation is valid. */
function holdMs(perMs: number): number {
  return Math.min(Math.max(perMs / 4, MIN_HOLD_MS), MAX_HOLD_MS);
}
