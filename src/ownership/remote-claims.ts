import { sharedByCopies } from "../common/shared-by-copies.js";
import { type Claim, takeoverAfterMs } from "./claim.js";
import { isRunning, isSameThread, type ProcessIdentity } from "./process-identity.js";

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
