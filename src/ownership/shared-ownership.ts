import { randomUUID } from "node:crypto";
import type { ProcessRef } from "../common/process-ref.js";
import { WakeTimer } from "../common/timers.js";
import { StorageError } from "../errors.js";
import type { PoolContext } from "../pool-context.js";
import type { SessionTable } from "../state/session-table.js";
import type { RecordWriter } from "../storage/record-writer.js";
import { LOCAL_REST_MS, OwnClaims, openPools, RemoteClaims } from "./claims.js";
import {
  type Claim,
  type ClaimDraft,
  type ClaimHandle,
  type Ownership,
  type SessionHolder,
  setForeign,
  usableMs,
} from "./ownership.js";
import { ownIdentity, type ProcessIdentity } from "./process-identity.js";

/**
 * Ownership over a storage that several processes share. A claim is a part of the session's record, written by the
 * record's own compare-and-set: it is won or lost there, and every write of the record renews it.
 *
 * The holder stops by its own monotonic clock before its claim runs out, whether or not the storage answers; others
 * take a session only when {@link RemoteClaims} says that its claim is void.
 */
export class SharedOwnership implements Ownership {
  readonly #context: PoolContext;
  readonly #sessionTable: SessionTable;
  readonly #recordWriter: RecordWriter;
  readonly #processRef: ProcessRef;
  readonly #ttlMs: number;
  readonly #self: ProcessIdentity;
  readonly #pool = randomUUID();
  readonly #toleratedDriftMs: number;
  readonly #held: OwnClaims;
  readonly #foreign: RemoteClaims;
  // At most one entry for each session that the pool knows: `forget` deletes both.
  /** Sessions that this pool claims or has not released yet: their records are written with its claim. */
  readonly #wanted = new Set<string>();
  /** Records that may contain this pool's claim. */
  readonly #marked = new Set<string>();
  #beat = 0;
  /** One timer for everything, set to the earliest instant. */
  readonly #timer: WakeTimer;
  #checkAt = Number.POSITIVE_INFINITY;
  #checkedAt = Number.NEGATIVE_INFINITY;
  #isEnded = false;

  constructor(context: PoolContext, sessionTable: SessionTable, recordWriter: RecordWriter, processRef: ProcessRef) {
    const { ttlMs, host } = context.options.ownership;
    this.#context = context;
    this.#sessionTable = sessionTable;
    this.#recordWriter = recordWriter;
    this.#processRef = processRef;
    this.#ttlMs = ttlMs;
    this.#toleratedDriftMs = ttlMs - usableMs(ttlMs);
    this.#self = ownIdentity(host);
    this.#held = new OwnClaims(ttlMs);
    this.#foreign = new RemoteClaims(this.#self);
    this.#timer = new WakeTimer(context.clock, () => this.#tick());
    openPools.add(this.#pool);
    context.events.on("noneAvailable", () => this.#checkForCaller());
  }

  isHeld(id: string): boolean {
    const claim = this.#held.handleOf(id);
    return claim !== undefined && this.#now() < claim.usableUntil;
  }

  /**
   * The monotonic clock of some systems stands still while the machine sleeps (CLOCK_MONOTONIC, clock_gettime(2)). A wall
   * clock that is ahead of it may show that, or was only set: a claim is written again before it is relied on.
   */
  needsRevalidation(id: string): boolean {
    const sending = this.#held.get(id);
    return sending !== undefined && this.#wallOffset() - sending.wallOffset > this.#toleratedDriftMs;
  }

  isForeign(id: string): boolean {
    return this.#foreign.isHeld(id, this.#now());
  }

  holderOf(id: string): SessionHolder | undefined {
    const claim = this.#foreign.get(id);
    if (claim === undefined || !this.isForeign(id)) return undefined;
    return { pid: claim.pid, isLocal: this.#foreign.isLocal(claim) };
  }

  async claim(id: string): Promise<ClaimHandle | undefined> {
    if (this.#isSafe(id)) return this.#held.handleOf(id);
    if (this.#recordWriter.versionOf(id) === undefined)
      throw new StorageError(`Session "${id}" cannot be used: its record is gone.`, { sessionId: id });
    if (this.isForeign(id)) return this.#refused(id);
    this.#wanted.add(id);
    await this.#recordWriter.saveOutsideFlush(id);
    if (this.#isSafe(id)) return this.#held.handleOf(id);
    if (!this.#wanted.has(id)) return undefined;
    // While a client is connected the claim has to stay.
    if (this.#held.get(id) === undefined) this.#wanted.delete(id);
    throw new StorageError(`Session "${id}" cannot be used: writing this process's claim timed out.`, {
      sessionId: id,
    });
  }

  async release(id: string): Promise<void> {
    this.#drop(id);
    this.#disarm();
    if (this.#marked.has(id)) await this.#recordWriter.saveOutsideFlush(id);
  }

  forget(id: string): void {
    const isLost = this.#held.get(id) !== undefined;
    this.#drop(id);
    this.#marked.delete(id);
    this.#foreign.forget(id);
    this.#disarm();
    if (isLost) this.#context.events.emit("ownershipLost", id);
  }

  draft(id: string): ClaimDraft {
    if (!this.#wanted.has(id)) {
      return { claim: this.#foreign.get(id) ?? null, landed: () => void this.#marked.delete(id) };
    }
    const sending = { at: this.#now(), wallOffset: this.#wallOffset() };
    this.#marked.add(id);
    return {
      claim: { pool: this.#pool, beat: ++this.#beat, ttlMs: this.#ttlMs, ...this.#self },
      landed: () => {
        if (!this.#wanted.has(id)) return;
        this.#foreign.forget(id);
        this.#held.set(id, sending);
        this.#arm();
      },
    };
  }

  onRecordRead(id: string, claim: Claim | null): void {
    if (claim?.pool === this.#pool) {
      this.#onOwnClaimRead(id);
      return;
    }
    let checkAt = Number.POSITIVE_INFINITY;
    // Most records were never claimed: nothing has changed then.
    let hasChanged = true;
    if (claim === null) hasChanged = this.#foreign.forget(id);
    else checkAt = this.#foreign.observe(id, claim, this.#now());
    const isForeign = this.isForeign(id);
    const isLost = this.#held.delete(id);
    if (isLost || isForeign) this.#wanted.delete(id);
    this.#marked.delete(id);
    if (isForeign) this.#checkBy(checkAt);
    if (hasChanged) this.#setForeign(id, isForeign);
    if (isLost) this.#context.events.emit("ownershipLost", id);
  }

  end(): void {
    this.#isEnded = true;
    this.#timer.cancel();
    openPools.delete(this.#pool);
  }

  #setForeign(id: string, isForeign: boolean): void {
    setForeign(this.#context, this.#sessionTable, id, isForeign);
  }

  #drop(id: string): void {
    this.#wanted.delete(id);
    this.#held.delete(id);
  }

  #isSafe(id: string): boolean {
    return this.isHeld(id) && !this.needsRevalidation(id);
  }

  #refused(id: string): undefined {
    this.#setForeign(id, true);
    return undefined;
  }

  /** This pool's own claim was read. If it is not wanted, an abandoned write has been applied after all. */
  #onOwnClaimRead(id: string): void {
    this.#foreign.forget(id);
    this.#marked.add(id);
    this.#setForeign(id, false);
    if (!this.#wanted.has(id) && !this.#isEnded) void this.#recordWriter.saveOutsideFlush(id);
  }

  #tick(): void {
    const now = this.#now();
    // Their records keep the claim until they are released, after their clients are closed.
    for (const id of this.#held.takeExpired(now)) this.#context.events.emit("ownershipLost", id);
    for (const id of this.#held.takeDueForRenewal(now)) void this.#recordWriter.saveOutsideFlush(id);
    if (now >= this.#checkAt) this.#check(now);
    this.#arm();
  }

  /** A caller is refused, or waits, only for sessions whose processes still run. */
  #checkForCaller(): void {
    if (!Number.isFinite(this.#checkAt) || this.#isEnded) return;
    const now = this.#now();
    if (now - this.#checkedAt < LOCAL_REST_MS) return;
    this.#check(now);
    this.#arm();
  }

  #check(now: number): void {
    this.#checkedAt = now;
    const { void: ids, nextAt } = this.#foreign.checkExpired(now, this.#processRef.isInUse);
    this.#checkAt = nextAt;
    for (const id of ids) this.#setForeign(id, false);
  }

  #checkBy(at: number): void {
    this.#checkAt = Math.min(this.#checkAt, at);
    this.#arm();
  }

  #arm(): void {
    if (!this.#isEnded) this.#timer.setBy(Math.min(this.#held.nextAt, this.#checkAt), this.#now());
  }

  /** Cancels the timer when no claim is held or watched. */
  #disarm(): void {
    if (Number.isFinite(this.#held.nextAt) || Number.isFinite(this.#checkAt)) return;
    this.#timer.cancel();
  }

  #now(): number {
    return this.#context.time.now();
  }

  #wallOffset(): number {
    return this.#context.clock.now() - this.#now();
  }
}
