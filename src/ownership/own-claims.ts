import { usableMs } from "./claim.js";
import type { ClaimHandle } from "./ownership.js";

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
