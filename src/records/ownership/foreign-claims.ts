import { type Claim, standstillMs } from "./claim.js";
import { livePools } from "./live-pools.js";
import { isRunning, isSameThread, type ProcessIdentity } from "./process-identity.js";

/** A claim of another pool's, and since when this one has seen it stand still, by its own monotonic clock. */
interface SeenClaim {
  readonly claim: Claim;
  readonly since: number;
  /** It is void, and that was told. */
  isTold: boolean;
}

/** How often the processes of this host are looked after. */
const LOCAL_LOOK_MS = 1_000;
/** For so long a process that was found running is not looked at again. */
const LOCAL_REST_MS = 100;

/**
 * The claims of other pools, and which of them are void: on this host as soon as their process is gone, and never
 * before; on another host when they were watched standing still for long enough. No two wall clocks are compared.
 */
export class ForeignClaims {
  readonly #self: ProcessIdentity;
  readonly #seen = new Map<string, SeenClaim>();
  /** Pools of this host whose process is gone, for good. */
  readonly #gone = new Set<string>();
  /** When pools of this host were last found running. */
  readonly #running = new Map<string, number>();

  constructor(self: ProcessIdentity) {
    this.#self = self;
  }

  /** The claim that stands in the session's record. */
  get(id: string): Claim | undefined {
    return this.#seen.get(id)?.claim;
  }

  /** Takes note of a claim as it was just read. Returns when to look at it again. */
  see(id: string, claim: Claim, now: number): number {
    const seen = this.#seen.get(id);
    const isSame = seen?.claim.pool === claim.pool && seen.claim.beat === claim.beat;
    const current = isSame ? seen : { claim, since: now, isTold: false };
    this.#seen.set(id, current);
    return this.#nextLookAt(current, now);
  }

  /** Whether there was one. */
  forget(id: string): boolean {
    return this.#seen.delete(id);
  }

  /** Whether another pool holds the session. */
  isHeld(id: string, now: number): boolean {
    const seen = this.#seen.get(id);
    return seen !== undefined && !this.#isVoid(seen, now);
  }

  /** Looks at all of them: which have become void, and when to look again (`Infinity`: there is nothing to wait for). */
  look(now: number): { readonly void: readonly string[]; readonly nextAt: number } {
    const found: string[] = [];
    let nextAt = Number.POSITIVE_INFINITY;
    for (const [id, seen] of this.#seen) {
      if (seen.isTold) continue;
      seen.isTold = this.#isVoid(seen, now);
      if (seen.isTold) found.push(id);
      else nextAt = Math.min(nextAt, this.#nextLookAt(seen, now));
    }
    return { void: found, nextAt };
  }

  #nextLookAt({ claim, since }: SeenClaim, now: number): number {
    return this.isLocal(claim) ? now + LOCAL_LOOK_MS : since + standstillMs(claim);
  }

  #isVoid({ claim, since }: SeenClaim, now: number): boolean {
    if (!this.isLocal(claim)) return now - since >= standstillMs(claim);
    if (isSameThread(claim, this.#self)) return !livePools.has(claim.pool);
    return this.#isGone(claim, now);
  }

  #isGone(claim: Claim, now: number): boolean {
    if (this.#gone.has(claim.pool)) return true;
    if (now - (this.#running.get(claim.pool) ?? Number.NEGATIVE_INFINITY) < LOCAL_REST_MS) return false;
    if (isRunning(claim)) {
      this.#running.set(claim.pool, now);
      return false;
    }
    this.#running.delete(claim.pool);
    this.#gone.add(claim.pool);
    return true;
  }

  /** Whether the claim's process is one of this host, which can be looked at. */
  isLocal({ host }: Claim): boolean {
    return host !== null && host === this.#self.host;
  }
}
