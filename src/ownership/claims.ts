import { sharedByCopies } from "../common/shared-by-copies.js";
import type { ClaimHandle } from "./ownership.js";
import { type Claim, takeoverAfterMs, usableMs } from "./ownership.js";
import { isRunning, isSameThread, type ProcessIdentity } from "./process-identity.js";

/** Renewals of a claim within its ttl. */
const RENEWALS = 3;
/**
 * Sessions that were claimed together are due together. They are renewed in steps, because a storage takes thousands of
 * writes only one after the other; a few are renewed at once nevertheless.
 */
const STEPS = 50;
const STEPS_PER_TTL = 600;
/** Minimum number of claims to renew in one step. */
const MIN_RENEWALS_PER_STEP = 16;

/** When a claim was sent, and how far the wall clock was ahead of the pool's time line. */
export interface ClaimWrite {
  readonly at: number;
  readonly wallOffset: number;
}

/** A claim of this pool, and its latest write. */
interface HeldClaim extends ClaimHandle {
  sending: ClaimWrite;
  usableUntil: number;
}

/** The claims of this pool: until when each may be used, and which are due for renewal. */
export class OwnClaims {
  readonly #ttlMs: number;
  // Every held session is in exactly one of these two maps.
  /** Claims that are not due for renewal, oldest first. */
  readonly #fresh = new Map<string, HeldClaim>();
  /** Claims whose renewal is in progress. */
  readonly #renewing = new Map<string, HeldClaim>();
  #nextStepAt = Number.NEGATIVE_INFINITY;

  constructor(ttlMs: number) {
    this.#ttlMs = ttlMs;
  }

  /** Records a claim that is on disk; `sending` was measured before the write began. */
  set(id: string, sending: ClaimWrite): void {
    const usableUntil = sending.at + usableMs(this.#ttlMs);
    const held = this.#find(id) ?? { sending, usableUntil };
    held.sending = sending;
    held.usableUntil = usableUntil;
    this.#remove(id);
    this.#fresh.set(id, held);
  }

  /** Returns when the claim was sent, even if it has expired since; `undefined` if it is not held. */
  get(id: string): ClaimWrite | undefined {
    return this.#find(id)?.sending;
  }

  /** The handle of the claim: the same one as long as the claim is held. */
  handleOf(id: string): ClaimHandle | undefined {
    return this.#find(id);
  }

  delete(id: string): boolean {
    const held = this.#find(id);
    if (held !== undefined) held.usableUntil = Number.NEGATIVE_INFINITY;
    return this.#remove(id);
  }

  /** Removes and returns the expired claims. */
  takeExpired(now: number): readonly string[] {
    const expired: string[] = [];
    for (const claims of [this.#renewing, this.#fresh]) {
      for (const [id, { usableUntil }] of claims) {
        if (now < usableUntil) break;
        expired.push(id);
      }
    }
    for (const id of expired) this.delete(id);
    return expired;
  }

  /** Returns the claims to renew now. A claim is returned once until it is set again. */
  takeDueForRenewal(now: number): readonly string[] {
    if (now < this.#nextStepAt) return [];
    const most = Math.max(MIN_RENEWALS_PER_STEP, Math.ceil(this.#fresh.size / STEPS));
    const due: string[] = [];
    for (const [id, held] of this.#fresh) {
      if (due.length === most) this.#nextStepAt = now + this.#ttlMs / STEPS_PER_TTL;
      if (due.length === most || now < held.sending.at + this.#ttlMs / RENEWALS) break;
      due.push(id);
      this.#renewing.set(id, held);
    }
    for (const id of due) this.#fresh.delete(id);
    return due;
  }

  /** The instant at which the next claim is due for renewal or expires. */
  get nextAt(): number {
    const [due] = this.#fresh.values();
    const [spent] = this.#renewing.values();
    return Math.min(
      due === undefined
        ? Number.POSITIVE_INFINITY
        : Math.max(due.sending.at + this.#ttlMs / RENEWALS, this.#nextStepAt),
      spent?.usableUntil ?? Number.POSITIVE_INFINITY,
    );
  }

  #find(id: string): HeldClaim | undefined {
    return this.#fresh.get(id) ?? this.#renewing.get(id);
  }

  #remove(id: string): boolean {
    return this.#fresh.delete(id) || this.#renewing.delete(id);
  }
}

/** Ids of this thread's open pools. A pool is deleted when it is closed, which makes its claims void. */
export const openPools: Set<string> = sharedByCopies("live-pools", Set<string>);

/** A claim of another pool, and the instant since which no renewal was seen, by this pool's monotonic clock. */
interface SeenClaim {
  readonly claim: Claim;
  readonly since: number;
  /** Whether it has expired and was reported. */
  wasReported: boolean;
}

/** Another pool whose claims were seen. */
interface SeenPool {
  /** Number of its claims. */
  claims: number;
  /** Whether its process has ended. */
  isGone: boolean;
  /** When its process was last found running. */
  runningAt: number;
}

/** Interval at which the processes of this host are checked while the pool is in use. */
const LOCAL_LOOK_MS = 1_000;
/** The same while it is not: waking the process costs more than the check. */
const IDLE_LOOK_MS = 5_000;
/** Time for which a process that was found running is not checked again. */
export const LOCAL_REST_MS = 100;

/**
 * The claims of other pools, and which of them have expired: on this host when their process has ended, and never before;
 * on another host when they were seen unrenewed for long enough. Wall clocks of two hosts are never compared.
 */
export class RemoteClaims {
  readonly #self: ProcessIdentity;
  /** By session id. Bounded by the number of sessions that other pools have claimed. */
  readonly #seen = new Map<string, SeenClaim>();
  /** By pool id. Bounded by the number of pools in `#seen`. */
  readonly #pools = new Map<string, SeenPool>();

  constructor(self: ProcessIdentity) {
    this.#self = self;
  }

  /** Returns the last claim read from the session's record. */
  get(id: string): Claim | undefined {
    return this.#seen.get(id)?.claim;
  }

  /** Records a claim that was just read. Returns when to check it again. */
  observe(id: string, claim: Claim, now: number): number {
    const seen = this.#seen.get(id);
    const isSame = seen?.claim.pool === claim.pool && seen.claim.beat === claim.beat;
    const current = isSame ? seen : { claim, since: now, wasReported: false };
    if (seen?.claim.pool !== claim.pool) {
      this.forget(id);
      this.#poolOf(claim).claims++;
    }
    this.#seen.set(id, current);
    return this.#nextLookAt(current, now);
  }

  /** Forgets the claim on the session. Returns whether there was one. */
  forget(id: string): boolean {
    const seen = this.#seen.get(id);
    if (seen === undefined) return false;
    const { pool } = seen.claim;
    const known = this.#pools.get(pool);
    if (known !== undefined && --known.claims === 0) this.#pools.delete(pool);
    return this.#seen.delete(id);
  }

  /** Returns whether another pool holds the session. */
  isHeld(id: string, now: number): boolean {
    const seen = this.#seen.get(id);
    return seen !== undefined && !this.#isExpired(seen, now);
  }

  /**
   * Returns the claims that have newly expired, and when to check again: `Infinity` if no claim is left to watch, and later
   * if the pool is not in use.
   */
  checkExpired(now: number, isInUse: boolean): { readonly void: readonly string[]; readonly nextAt: number } {
    const found: string[] = [];
    let nextAt = Number.POSITIVE_INFINITY;
    for (const [id, seen] of this.#seen) {
      if (seen.wasReported) continue;
      seen.wasReported = this.#isExpired(seen, now);
      if (seen.wasReported) found.push(id);
      else nextAt = Math.min(nextAt, this.#nextLookAt(seen, now, isInUse ? LOCAL_LOOK_MS : IDLE_LOOK_MS));
    }
    return { void: found, nextAt };
  }

  #nextLookAt({ claim, since }: SeenClaim, now: number, localLookMs: number = LOCAL_LOOK_MS): number {
    return this.isLocal(claim) ? now + localLookMs : since + takeoverAfterMs(claim);
  }

  #isExpired({ claim, since }: SeenClaim, now: number): boolean {
    if (!this.isLocal(claim)) return now - since >= takeoverAfterMs(claim);
    if (isSameThread(claim, this.#self)) return !openPools.has(claim.pool);
    return this.#isGone(claim, now);
  }

  #isGone(claim: Claim, now: number): boolean {
    const pool = this.#poolOf(claim);
    if (pool.isGone) return true;
    if (now - pool.runningAt < LOCAL_REST_MS) return false;
    pool.isGone = !isRunning(claim);
    if (!pool.isGone) pool.runningAt = now;
    return pool.isGone;
  }

  #poolOf({ pool }: Claim): SeenPool {
    const known = this.#pools.get(pool);
    if (known !== undefined) return known;
    const made: SeenPool = { claims: 0, isGone: false, runningAt: Number.NEGATIVE_INFINITY };
    this.#pools.set(pool, made);
    return made;
  }

  /** Returns whether the claim's process is on this host, where it can be checked. */
  isLocal({ host }: Claim): boolean {
    return host !== null && host === this.#self.host;
  }
}
