import type { ResolvedOptions } from "../options.js";
import type { Ledger } from "../records/ledger.js";
import { LocalOwnership } from "../records/ownership/local-ownership.js";
import type { Ownership, OwnershipEvents } from "../records/ownership/ownership.js";
import { ownIdentity } from "../records/ownership/process-identity.js";
import { SharedOwnership } from "../records/ownership/shared-ownership.js";
import type { Roster } from "../roster/roster.js";
import type { Dispatcher } from "./dispatcher.js";
import type { TimeLine } from "./time-line.js";

/** What ownership needs of the pool. */
export interface SessionOwnershipParts {
  readonly options: Pick<ResolvedOptions<unknown>, "clock" | "storage" | "ownership">;
  readonly roster: Roster;
  readonly time: TimeLine;
  readonly ledger: () => Ledger;
  readonly dispatcher: () => Dispatcher;
  /** Takes in what is stored of the session now. */
  look(id: string): Promise<void>;
  /** Another process has let go of the session. */
  freed(id: string): void;
  lost(id: string): void;
}

/** The ownership of a pool's sessions: by claims in the records where other processes may read them. */
export function makeOwnership(parts: SessionOwnershipParts): Ownership {
  const { clock, storage, ownership } = parts.options;
  const events: OwnershipEvents = {
    foreign: (id, isForeign) => {
      const entry = parts.roster.get(id);
      if (entry === undefined || entry.isForeign === isForeign) return;
      parts.roster.setForeign(entry, isForeign, parts.time.now());
      parts.dispatcher().worsened();
      if (!isForeign) parts.freed(id);
    },
    lost: (id) => parts.lost(id),
  };
  if (!storage.shared) {
    return new LocalOwnership(storage, {
      ...events,
      look: (id) => parts.look(id),
      settled: (id) => parts.ledger().settle(id),
    });
  }
  return new SharedOwnership({
    ...events,
    clock,
    ttlMs: ownership.ttlMs,
    self: ownIdentity(ownership.host),
    save: (id) => parts.ledger().saveAside(id),
    isKnown: (id) => parts.ledger().versionOf(id) !== undefined,
  });
}
