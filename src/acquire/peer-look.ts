import type { PeerHolders } from "../state/criteria.js";
import { nameOfReference, type PeerReference } from "../telegram/peers.js";

/** The sessions that know one peer, shared by all callers that want one of them at the same time. */
export class PeerLook implements PeerHolders {
  readonly peer: string;
  readonly reference: PeerReference;
  readonly ids: Set<string> = new Set();
  /** What was learned and cleared since the storage was last asked: its answer may be older. */
  readonly news: Map<string, boolean> = new Map();
  users = 0;
  asking: Promise<void> | undefined = undefined;
  /** When the storage was asked for the latest answer, on the pool's time line. */
  askedAt: number = Number.NEGATIVE_INFINITY;
  /** Whether the storage has answered. */
  isAnswered = false;

  constructor(reference: PeerReference) {
    this.reference = reference;
    this.peer = nameOfReference(reference);
  }
}
