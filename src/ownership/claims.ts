import { sharedByCopies } from "../common/shared-by-copies.js";
import type { ClaimHandle } from "./ownership.js";
import { type Claim, takeoverAfterMs, usableMs } from "./ownership.js";
import { isRunning, isSameThread, type ProcessIdentity } from "./process-identity.js";

/** Claims are renewed so often in a ttl. */
const RENEWALS = 3;
/**
 * Sessions that were claimed together are due together. They are renewed in so many steps, one each so small a part of a
 * ttl, for a storage takes thousands of writes only one after the other; few enough are renewed at once all the same.
 */
const STEPS = 50;
const STEPS_PER_TTL = 600;
const FEW = 16;

/** When a claim was sent: by the monotonic clock, and by how much the wall clock was ahead of that. */
export interface ClaimWrite {
  readonly at: number;
  readonly wallOffset: number;
}

/** Moves with every renewal. */
class OwnClaimHandle implements ClaimHandle {
  usableUntil: number;

  constructor(usableUntil: number) {
    this.usableUntil = usableUntil;
  }

  end(): void {
    this.usableUntil = Number.NEGATIVE_INFINITY;
  }

  isUsable(now: number): boolean {
    return now < this.usableUntil;
  }
}

/** The latest sending of a claim, and what was given out of it. */
interface HeldClaim {
  sending: ClaimWrite;
  readonly hold: OwnClaimHandle;
}

/** The claims this pool holds: until when each may be used, and which are to be renewed. All instants are monotonic. */
export class OwnClaims {
  readonly #ttlMs: number;
  // One entry, in one of the two, for each session that is held.
  /** Since when each is held, the oldest first. */
  readonly #fresh = new Map<string, HeldClaim>();
  /** The same of those whose renewal was asked for and is not on disk yet. */
  readonly #renewing = new Map<string, HeldClaim>();
  #nextStepAt = Number.NEGATIVE_INFINITY;

  constructor(ttlMs: number) {
    this.#ttlMs = ttlMs;
  }

  /** It is on disk; `sending` was measured before the write began. */
  set(id: string, sending: ClaimWrite): void {
    const usableUntil = sending.at + usableMs(this.#ttlMs);
    const held = this.#find(id) ?? { sending, hold: new OwnClaimHandle(usableUntil) };
    held.sending = sending;
    held.hold.usableUntil = usableUntil;
    this.#remove(id);
    this.#fresh.set(id, held);
  }

  /** When the claim was sent, used up or not; `undefined` when it is not held. */
  get(id: string): ClaimWrite | undefined {
    return this.#find(id)?.sending;
  }

  /** Stays the same one while the claim is held, renewed or not. */
  holdOf(id: string): ClaimHandle | undefined {
    return this.#find(id)?.hold;
  }

  delete(id: string): boolean {
    this.#find(id)?.hold.end();
    return this.#remove(id);
  }

  /** Whether the session may be used now. */
  isUsable(id: string, now: number): boolean {
    return this.holdOf(id)?.isUsable(now) === true;
  }

  /** Those whose time is over. */
  takeExpired(now: number): readonly string[] {
    const spent: string[] = [];
    for (const claims of [this.#renewing, this.#fresh]) {
      for (const [id, { hold }] of claims) {
        if (hold.isUsable(now)) break;
        spent.push(id);
      }
    }
    for (const id of spent) this.delete(id);
    return spent;
  }

  /** Those that are to be renewed now; each is told once, until it is set again. */
  takeDueForRenewal(now: number): readonly string[] {
    if (now < this.#nextStepAt) return [];
    const most = Math.max(FEW, Math.ceil(this.#fresh.size / STEPS));
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

  /** When the next one is due or spent. */
  get nextAt(): number {
    const [due] = this.#fresh.values();
    const [spent] = this.#renewing.values();
    return Math.min(
      due === undefined
        ? Number.POSITIVE_INFINITY
        : Math.max(due.sending.at + this.#ttlMs / RENEWALS, this.#nextStepAt),
      spent?.hold.usableUntil ?? Number.POSITIVE_INFINITY,
    );
  }

  #find(id: string): HeldClaim | undefined {
    return this.#fresh.get(id) ?? this.#renewing.get(id);
  }

  #remove(id: string): boolean {
    return this.#fresh.delete(id) || this.#renewing.delete(id);
  }
}

/** Ids of this thread's open pools. A pool leaves when it is closed: whatever it had claimed may be claimed again. */
export const openPools: Set<string> = sharedByCopies("live-pools", Set<string>);

/** A claim of another pool's, and since when this one has seen it stand still, by its own monotonic clock. */
interface SeenClaim {
  readonly claim: Claim;
  readonly since: number;
  /** It is void, and that was told. */
  wasReported: boolean;
}

/** Another pool, as far as claims of it are seen. */
interface SeenPool {
  /** How many. */
  claims: number;
  /** Its process is gone, for good. */
  isGone: boolean;
  /** When its process was last found running. */
  runningAt: number;
}

/** How often the processes of this host are looked after. */
const LOCAL_LOOK_MS = 1_000;
/** For so long a process that was found running is not looked at again. */
const LOCAL_REST_MS = 100;

/**
 * The claims of other pools, and which of them are void: on this host as soon as their process is gone, and never
 * before; on another host when they were watched standing still for long enough. No two wall clocks are compared.
 */
export class RemoteClaims {
  readonly #self: ProcessIdentity;
  /** One for each session that was seen with another pool's claim. */
  readonly #seen = new Map<string, SeenClaim>();
  /** One for each pool that such a claim names. */
  readonly #pools = new Map<string, SeenPool>();

  constructor(self: ProcessIdentity) {
    this.#self = self;
  }

  /** The claim that stands in the session's record. */
  get(id: string): Claim | undefined {
    return this.#seen.get(id)?.claim;
  }

  /** Takes note of a claim as it was just read. Returns when to look at it again. */
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

  /** Whether there was one. */
  forget(id: string): boolean {
    const seen = this.#seen.get(id);
    if (seen === undefined) return false;
    const { pool } = seen.claim;
    const known = this.#pools.get(pool);
    if (known !== undefined && --known.claims === 0) this.#pools.delete(pool);
    return this.#seen.delete(id);
  }

  /** Whether another pool holds the session. */
  isHeld(id: string, now: number): boolean {
    const seen = this.#seen.get(id);
    return seen !== undefined && !this.#isExpired(seen, now);
  }

  /** Looks at all of them: which have become void, and when to look again (`Infinity`: there is nothing to wait for). */
  checkExpired(now: number): { readonly void: readonly string[]; readonly nextAt: number } {
    const found: string[] = [];
    let nextAt = Number.POSITIVE_INFINITY;
    for (const [id, seen] of this.#seen) {
      if (seen.wasReported) continue;
      seen.wasReported = this.#isExpired(seen, now);
      if (seen.wasReported) found.push(id);
      else nextAt = Math.min(nextAt, this.#nextLookAt(seen, now));
    }
    return { void: found, nextAt };
  }

  #nextLookAt({ claim, since }: SeenClaim, now: number): number {
    return this.isLocal(claim) ? now + LOCAL_LOOK_MS : since + takeoverAfterMs(claim);
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

  /** Whether the claim's process is one of this host, which can be looked at. */
  isLocal({ host }: Claim): boolean {
    return host !== null && host === this.#self.host;
  }
}
