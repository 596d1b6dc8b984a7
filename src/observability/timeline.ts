import type { SessionPoolEvents } from "../events.js";

/** Duration of one bucket. */
export const BUCKET_MS = 10_000;
/** Buckets of one hour. */
const MAX_BUCKETS = 360;
/** Maximum number of incidents that are kept. */
const MAX_INCIDENTS = 200;

/** What happened in a pool within one bucket of time. */
export interface TimelineBucket {
  /** Its beginning, epoch milliseconds; a multiple of {@link BUCKET_MS}. */
  readonly at: number;
  /** API requests that were sent, those that are sent again included. */
  readonly calls: number;
  /** Largest number of callers that waited at once. */
  readonly waiters: number;
  readonly deaths: number;
  readonly restrictions: number;
  /** Number of waits that Telegram asked for, by the refused method; `"connect"` for a refused connect. */
  readonly floods: Readonly<Record<string, number>>;
}

/** Events that are kept as incidents. */
export type IncidentKind = Extract<
  keyof SessionPoolEvents,
  | "cooled"
  | "recovered"
  | "restricted"
  | "died"
  | "backedOff"
  | "disconnected"
  | "ownershipLost"
  | "leaked"
  | "recordRejected"
  | "storageFailed"
>;

const INCIDENTS: readonly IncidentKind[] = [
  "cooled",
  "recovered",
  "restricted",
  "died",
  "backedOff",
  "disconnected",
  "ownershipLost",
  "leaked",
  "recordRejected",
  "storageFailed",
];

/** An event of a pool that an operator wants to know of. */
export interface Incident {
  /** Increases with every incident of the pool. */
  readonly number: number;
  /** Epoch milliseconds. */
  readonly at: number;
  readonly kind: IncidentKind;
  /** `null` if no session is concerned. */
  readonly sessionId: string | null;
  readonly reason: string | null;
  /** End of a cooldown or a back-off, epoch milliseconds. */
  readonly until: number | null;
}

/** What happened in a pool within the last hour, counted from the first call of `observe`. */
export interface PoolTimeline {
  /** The buckets that begin at `since` or later, in the order of time. Those in which nothing happened may be missing. */
  buckets(since?: number): readonly TimelineBucket[];
  /** The latest incidents after the given number, in the order of time; the last 200 are kept. */
  incidents(after?: number): readonly Incident[];
}

interface Bucket extends TimelineBucket {
  calls: number;
  waiters: number;
  deaths: number;
  restrictions: number;
  readonly floods: Record<string, number>;
}

type EventFields = Readonly<Record<string, unknown>>;

/**
 * The last hour of a pool in buckets of ten seconds, and its latest incidents. Bounded, and without a timer: a bucket begins
 * with what is recorded in it.
 */
export class Timeline implements PoolTimeline {
  readonly #now: () => number;
  readonly #waiterCount: () => number;
  /** In the order of time, at most an hour of them; those in which nothing happened may be missing. */
  #buckets: Bucket[] = [];
  #incidents: Incident[] = [];
  #incidentCount = 0;

  /** `now` is wall-clock time; `waiterCount` is the number of callers that wait now. */
  constructor(now: () => number, waiterCount: () => number) {
    this.#now = now;
    this.#waiterCount = waiterCount;
  }

  recordCall(): void {
    this.#current().calls++;
  }

  recordFlood(method: string): void {
    const { floods } = this.#current();
    floods[method] = (floods[method] ?? 0) + 1;
  }

  recordWaiters(count: number): void {
    const bucket = this.#current();
    bucket.waiters = Math.max(bucket.waiters, count);
  }

  /** Records an event of the pool, if it is one to be kept. */
  recordEvent(name: keyof SessionPoolEvents, event: unknown): void {
    const kind = INCIDENTS.find((known) => known === name);
    if (kind === undefined) return;
    if (kind === "died") this.#current().deaths++;
    if (kind === "restricted") this.#current().restrictions++;
    const fields = event as EventFields;
    if (kind === "disconnected" && fields.reason !== "proxyFailed") return;
    this.#incidents.push({
      number: ++this.#incidentCount,
      at: this.#now(),
      kind,
      sessionId: textOf(fields.id),
      reason: reasonOf(fields),
      until: typeof fields.until === "number" ? fields.until : null,
    });
    if (this.#incidents.length > 2 * MAX_INCIDENTS) this.#incidents = this.#incidents.slice(-MAX_INCIDENTS);
  }

  /** The bucket that begins at `since` and those after it, in the order of time. */
  buckets(since: number = Number.NEGATIVE_INFINITY): readonly TimelineBucket[] {
    const waiters = this.#waiterCount();
    if (waiters > 0) this.recordWaiters(waiters);
    const last = this.#buckets.at(-1);
    // One that is ahead of every bucket is of before the clock was set back.
    const from = last !== undefined && since > last.at ? Number.NEGATIVE_INFINITY : since;
    const first = Math.max(from, this.#now() - MAX_BUCKETS * BUCKET_MS);
    return this.#buckets.filter(({ at }) => at >= first);
  }

  /** The incidents after the given number, in the order of time. */
  incidents(after = 0): readonly Incident[] {
    return this.#incidents.slice(-MAX_INCIDENTS).filter(({ number }) => number > after);
  }

  /** The bucket of this moment. One that begins gets the callers that have waited since before. */
  #current(): Bucket {
    const at = Math.floor(this.#now() / BUCKET_MS) * BUCKET_MS;
    const last = this.#buckets.at(-1);
    // A wall clock that was set back continues the last bucket; one that was far ahead begins again.
    if (last !== undefined && at <= last.at) {
      if (last.at - at <= MAX_BUCKETS * BUCKET_MS) return last;
      this.#buckets = [];
      return this.#current();
    }
    const waiters = this.#waiterCount();
    if (last !== undefined) this.#fillGap(last, at, Math.min(waiters, last.waiters));
    const bucket: Bucket = { at, calls: 0, waiters, deaths: 0, restrictions: 0, floods: noFloods() };
    this.#buckets.push(bucket);
    if (this.#buckets.length > MAX_BUCKETS) this.#buckets = this.#buckets.slice(-MAX_BUCKETS);
    return bucket;
  }

  /** Callers that waited before and still do have waited in between. */
  #fillGap(last: Bucket, end: number, waiters: number): void {
    if (waiters === 0) return;
    const start = Math.max(last.at + BUCKET_MS, end - MAX_BUCKETS * BUCKET_MS);
    for (let at = start; at < end; at += BUCKET_MS) {
      this.#buckets.push({ at, calls: 0, waiters, deaths: 0, restrictions: 0, floods: noFloods() });
    }
  }
}

/** Methods have names of the user's: "constructor" is one as well. */
function noFloods(): Record<string, number> {
  return Object.create(null) as Record<string, number>;
}

function textOf(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

/** A wait with the method or the peer that it is for; for a failure of the storage, the kind of the error alone. */
function reasonOf({ reason, method, peer, refusedMethod, heldMs, error }: EventFields): string | null {
  if (typeof heldMs === "number") return `held for ${Math.round(heldMs / 1_000)} s`;
  if (error instanceof Error) return error.name;
  const scope = textOf(method) ?? textOf(peer) ?? textOf(refusedMethod);
  const text = textOf(reason);
  return text === null || scope === null ? text : `${text} (${scope})`;
}
