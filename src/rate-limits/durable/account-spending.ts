import { randomBytes } from "node:crypto";
import type { Timer } from "../../common/clock.js";
import { inOwnContext } from "../../common/own-context.js";
import { WakeTimer } from "../../common/timers.js";
import { StorageCorruptError } from "../../errors.js";
import type { CallLimit } from "../../options/budgets.js";
import type { PoolContext } from "../../pool-context.js";
import type { PoolLifecycle } from "../../pool-lifecycle.js";
import type { StoredRecord } from "../../storage/storage.js";
import { StorageTimeout } from "../../storage/storage-timeout.js";
import { endlessConflict, MAX_CONFLICTS } from "../../storage/update-record.js";
import type { CallsAt } from "../call-counters.js";
import { type MethodDraft, MethodSpending } from "./method-spending.js";
import { RecordTime } from "./record-time.js";
import { decodeSpending, encodeSpending, type SpendingRecord } from "./spending-record.js";
import { SpentCalls } from "./spent-calls.js";

/** On average at most one write of a record in this time. */
const WRITE_INTERVAL_MS = 2_000;
/** Number of writes that may follow each other sooner when calls begin: enough to use up any limit of up to 1,024 calls. */
const BURST = 5;

/** How long a record is kept after its last call has ceased to count: another clock may be behind by that much. */
const KEPT_EXPIRED_MS = 86_400_000;

/** The writes that are permitted now: a token bucket. */
class WriteCredits {
  readonly #context: PoolContext;
  #credits = BURST;
  #countedAt: number;

  constructor(context: PoolContext) {
    this.#context = context;
    this.#countedAt = context.clock.monotonic();
  }

  /** Time until the next write is permitted. */
  waitMs(): number {
    const now = this.#context.clock.monotonic();
    this.#credits = Math.min(this.#credits + (now - this.#countedAt) / WRITE_INTERVAL_MS, BURST);
    this.#countedAt = now;
    return this.#credits >= 1 ? 0 : Math.ceil((1 - this.#credits) * WRITE_INTERVAL_MS);
  }

  /** A write begins. */
  take(): void {
    this.#credits--;
  }

  /** The write has changed nothing. */
  giveBack(): void {
    this.#credits++;
  }
}

/** Identifies this pool in the records; random, so that no other pool accounts for its reservations. */
export function poolName(): string {
  return randomBytes(6).toString("base64url");
}

/**
 * The record of what one account has spent of its durable limits: reserves calls in it before they are made, with as few
 * writes as possible, and merges what other pools have written.
 */
export class AccountSpending {
  readonly id: string;
  readonly #context: PoolContext;
  readonly #lifecycle: PoolLifecycle;
  readonly #deadline: StorageTimeout;
  readonly #pool: string;
  readonly #time: RecordTime;
  readonly #credits: WriteCredits;
  readonly #timer: WakeTimer;
  readonly #used = new Map<string, MethodSpending>();
  /** Methods that this pool does not limit, as the record contains them. */
  #others: ReadonlyMap<string, SpentCalls> = new Map();
  /** Versions of the records that this one contains. */
  readonly #absorbed = new Map<string, number>();
  /** Records that are deleted once this one is written with what they contain. */
  readonly #obsolete = new Map<string, number>();
  #version = 0;
  #writes = 0;
  #writtenAt = Number.NEGATIVE_INFINITY;
  /** Why the record cannot be read. It is not overwritten. */
  #damage: string | undefined;
  #next: Promise<void> | undefined;
  #running: Promise<void> | undefined;
  #delay: { readonly timer: Timer; readonly end: () => void } | undefined;
  #isClosed = false;
  /** Whether another record has taken over. */
  #isRetired = false;

  constructor(context: PoolContext, lifecycle: PoolLifecycle, id: string, pool: string) {
    const { clock, options, metrics } = context;
    this.id = id;
    this.#context = context;
    this.#lifecycle = lifecycle;
    this.#deadline = new StorageTimeout(clock, options.storageTimeoutMs, metrics);
    this.#pool = pool;
    this.#time = new RecordTime(context, pool);
    this.#credits = new WriteCredits(context);
    this.#timer = new WakeTimer(clock, () => this.#writeInBackground());
  }

  /** Whether a call of the method may be made without a write. */
  mayCall(method: string, limit: CallLimit, now: number): boolean {
    return this.#methodOf(method, limit).mayCall(this.#time.latest(now)) && !this.#time.isOutdated;
  }

  /** The instant until which the limit is known to permit no call; in the past if a call may be within the limit. */
  blockedUntil(method: string, limit: CallLimit, now: number): number {
    const spending = this.#methodOf(method, limit);
    if (this.#damage !== undefined || spending.mayCall(this.#time.latest(now))) return 0;
    return this.#time.toInstant(spending.nextAllowedAt());
  }

  /** Counts a call that is made. */
  count(method: string, limit: CallLimit, now: number): void {
    const spending = this.#methodOf(method, limit);
    if (!spending.count(this.#time.latest(now)) || now - this.#writtenAt < WRITE_INTERVAL_MS) return;
    if (this.#next !== undefined || this.#running !== undefined) return;
    spending.demand(true);
    this.#writeInBackground();
  }

  /** Resolves when the method may be judged again: calls are reserved, or the limit is known to be exhausted. */
  reserve(method: string, limit: CallLimit): Promise<void> {
    this.#methodOf(method, limit).demand();
    return this.#write();
  }

  /**
   * Takes over a record that was read, unless it is older than what is known. Returns whether it was. Throws if it cannot
   * be read.
   */
  load(stored: StoredRecord): boolean {
    if (stored.version <= this.#version || this.#running !== undefined) return false;
    this.#adopt(stored);
    return true;
  }

  /**
   * Makes what a session has spent while its account was not known part of what the account has spent. The next write
   * contains it and deletes the record of the session. Nothing is counted twice, even if another pool does the same.
   */
  absorb(session: AccountSpending, limits: ReadonlyMap<string, CallLimit>): void {
    const convert = ({ at, calls }: CallsAt): CallsAt => ({
      at: Math.ceil(this.#time.latest(session.#time.toInstant(at))),
      calls,
    });
    const isNews = session.#version > (this.#absorbed.get(session.id) ?? 0);
    for (const [method, limit] of limits) {
      const from = session.#methodOf(method, limit);
      const into = this.#methodOf(method, limit);
      const write = this.#writes + 1;
      if (isNews) into.absorb(from.storedCalls.map(convert), write, session.id);
      into.absorb(from.takeUnwritten().map(convert), write);
    }
    session.#retire();
    if (session.#version === 0) return;
    this.#obsolete.set(session.id, session.#version);
    this.#absorbed.set(session.id, Math.max(session.#version, this.#absorbed.get(session.id) ?? 0));
  }

  /** Whether nothing that the record contains has counted for a day, and nothing is about to be added. */
  get isExpired(): boolean {
    if (this.#version === 0 || this.#damage !== undefined || this.#next !== undefined || this.#running !== undefined)
      return false;
    const used = [...this.#used.values()];
    const contained = [...this.#others.values(), ...used.map(({ stored }) => stored)];
    const expiredBy = this.#time.now() - KEPT_EXPIRED_MS;
    return contained.every(({ expiresAt }) => expiresAt <= expiredBy) && !used.some(({ isUnsettled }) => isUnsettled);
  }

  /**
   * Deletes the record if it {@link isExpired} and no other pool has written it meanwhile. A pool that knows it writes it
   * again with its next call. Never rejects: what is not deleted now is deleted after the next start.
   */
  async deleteExpired(): Promise<void> {
    if (this.#isEnded || !this.isExpired) return;
    const version = this.#version;
    const { storage } = this.#context.options;
    try {
      const deleted = await this.#deadline.run("delete a record", () => storage.write(this.id, version, null));
      if (deleted !== undefined && this.#version === version) this.#version = 0;
    } catch {
      // The storage's failures are reported by the traffic that has to succeed.
    }
  }

  /** Ends all writes. Callers that wait are asked to judge their calls again. */
  #retire(): void {
    this.#isRetired = true;
    this.#timer.cancel();
    this.#delay?.end();
  }

  /** Accounts for the calls that were made and returns the others. Callers that wait are rejected. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer.cancel();
    this.#delay?.end();
    await this.#next?.catch(() => {});
    await this.#running?.catch(() => {});
    // The failure of a write is reported where it happens.
    if ([...this.#used.values()].some(({ isUnsettled }) => isUnsettled)) await this.#writeNow().catch(() => {});
  }

  get #isEnded(): boolean {
    return this.#isClosed || this.#isRetired;
  }

  #methodOf(method: string, limit: CallLimit): MethodSpending {
    let spending = this.#used.get(method);
    if (spending === undefined) {
      spending = new MethodSpending(limit, this.#pool);
      const stored = this.#others.get(method);
      if (stored !== undefined) spending.adopt(stored, this.#time.now());
      this.#used.set(method, spending);
    }
    return spending;
  }

  /** One write at a time; those that are asked for while one waits or runs are served by the next one. */
  #write(): Promise<void> {
    this.#next ??= inOwnContext(() => this.#scheduleWrite());
    return this.#next;
  }

  #writeInBackground(): void {
    // The failure of a write is reported where it happens.
    this.#lifecycle.track(this.#write()).catch(() => {});
  }

  async #scheduleWrite(): Promise<void> {
    await this.#running?.catch(() => {});
    // Callers of the same turn of the event loop share the write.
    await new Promise<void>((resolve) => process.nextTick(resolve));
    for (let waitMs = this.#credits.waitMs(); waitMs > 0 && !this.#isEnded; waitMs = this.#credits.waitMs()) {
      await this.#pause(waitMs);
    }
    this.#next = undefined;
    if (this.#isRetired) return;
    if (this.#isClosed) throw this.#lifecycle.toClosedError();
    const running = this.#writeNow();
    this.#running = running;
    try {
      await running;
    } finally {
      this.#running = undefined;
    }
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        timer.cancel();
        this.#delay = undefined;
        resolve();
      };
      const timer = this.#context.clock.setTimer(delayMs, end);
      this.#delay = { timer, end };
    });
  }

  async #writeNow(): Promise<void> {
    const latest = this.#time.latest();
    this.#writtenAt = this.#context.time.now();
    const targets = new Map(
      Array.from(this.#used, ([name, method]) => [name, this.#isClosed ? -1 : method.plan(latest)] as const),
    );
    try {
      await this.#writeByCompareAndSet(targets);
    } catch (error) {
      if (error instanceof Error) this.#context.events.emit("storageFailed", error);
      throw error;
    } finally {
      this.#arm();
    }
  }

  async #writeByCompareAndSet(targets: ReadonlyMap<string, number>): Promise<void> {
    if (this.#damage !== undefined) await this.#read();
    let isKnown = false;
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts++) {
      const number = ++this.#writes;
      const drafts = this.#draft(number, targets);
      const isUseful =
        drafts.some(({ isGranting }) => isGranting) || [...targets.values()].every((target) => target <= 0);
      if (isUseful) {
        if (await this.#writeOnce(drafts)) return;
      } else if (isKnown) return;
      await this.#read();
      isKnown = true;
    }
    throw endlessConflict(this.id);
  }

  #draft(write: number, targets: ReadonlyMap<string, number>): readonly MethodDraft[] {
    const [now, latest] = [this.#time.now(), this.#time.latest()];
    return Array.from(targets, ([name, target]) => this.#used.get(name)?.draft(now, latest, write, target)).filter(
      (draft) => draft !== undefined,
    );
  }

  /** Resolves with whether the drafts are on disk; `false` if another pool was faster. */
  async #writeOnce(drafts: readonly MethodDraft[]): Promise<boolean> {
    for (const draft of drafts) draft.method.begin(draft);
    const data = encodeSpending(this.#record(drafts));
    const { storage } = this.#context.options;
    const begunAt = this.#context.time.now();
    this.#credits.take();
    const version = await this.#deadline.run("write the calls spent of a durable limit", () =>
      storage.write(this.id, this.#version, data),
    );
    if (version === undefined) {
      this.#credits.giveBack();
      return false;
    }
    this.#version = version;
    this.#time.seen(begunAt);
    for (const draft of drafts) draft.method.confirm(draft, this.#time.now(), this.#time.latest());
    this.#deleteObsolete();
    return true;
  }

  /** The records of sessions that this one contains. One that is not deleted now is deleted after the next start. */
  #deleteObsolete(): void {
    const { storage } = this.#context.options;
    for (const [id, version] of this.#obsolete) {
      const deleted = this.#deadline.run("delete a record", () => storage.write(id, version, null));
      this.#lifecycle.track(deleted).catch(() => {});
    }
    this.#obsolete.clear();
  }

  #record(drafts: readonly MethodDraft[]): SpendingRecord {
    const methods = new Map(this.#others);
    for (const [name, method] of this.#used) methods.set(name, method.stored);
    for (const { method, next } of drafts) {
      for (const [name, used] of this.#used) if (used === method) methods.set(name, next);
    }
    return { ...this.#time.stamp(), methods, absorbed: this.#absorbed };
  }

  async #read(): Promise<void> {
    const { storage } = this.#context.options;
    const begunAt = this.#context.time.now();
    const stored = await this.#deadline.run("read a record", () => storage.read(this.id));
    if (stored !== undefined) {
      try {
        this.#adopt(stored);
        this.#time.seen(begunAt);
      } catch (error) {
        throw new StorageCorruptError(
          `The record "${this.id}" of calls spent cannot be read, so none can be made: ${(error as Error).message}. Nothing was overwritten. remove() of that id forgets them.`,
        );
      }
      return;
    }
    // Another writer has deleted it: what this pool knows is still true, and is written again.
    this.#damage = undefined;
    this.#version = 0;
    for (const method of this.#used.values()) method.readAt = this.#time.now();
  }

  #adopt(stored: StoredRecord): void {
    let record: SpendingRecord;
    try {
      record = decodeSpending(stored.data);
    } catch (error) {
      this.#damage = (error as Error).message;
      throw error;
    }
    this.#damage = undefined;
    if (stored.version !== this.#version) {
      const movedMs = this.#time.adopt(record);
      for (const method of this.#used.values()) method.move(movedMs);
    }
    this.#version = stored.version;
    const { methods, absorbed } = record;
    const contained = new Set<string>();
    for (const [id, version] of absorbed) {
      if (version >= (this.#obsolete.get(id) ?? 0)) contained.add(id);
      this.#absorbed.set(id, Math.max(version, this.#absorbed.get(id) ?? 0));
    }
    const now = this.#time.now();
    this.#others = new Map([...methods].filter(([name]) => !this.#used.has(name)));
    for (const [name, method] of this.#used) method.adopt(methods.get(name) ?? new SpentCalls(), now, contained);
  }

  /** Sets the timer by which reserved calls that were not made are returned. */
  #arm(): void {
    if (this.#isEnded) return;
    const at = Math.min(...Array.from(this.#used.values(), ({ returnableAt }) => returnableAt));
    this.#timer.cancel();
    this.#timer.setBy(this.#time.toInstant(at), this.#context.time.now());
  }
}
