import type { LeaseScheduler } from "../acquire/lease-scheduler.js";
import type { PoolTime } from "../common/pool-time.js";
import type { ResolvedOptions } from "../options/options.js";
import type { SessionTable } from "../state/session-table.js";
import type { RecordWriter } from "../storage/record-writer.js";
import { LocalOwnership } from "./local-ownership.js";
import type { Ownership, OwnershipEvents } from "./ownership.js";
import { ownIdentity } from "./process-identity.js";
import { SharedOwnership } from "./shared-ownership.js";

/** What ownership needs of the pool. */
export interface SessionOwnershipDeps {
  readonly options: Pick<ResolvedOptions<unknown>, "clock" | "storage" | "ownership">;
  readonly sessionTable: SessionTable;
  readonly time: PoolTime;
  readonly recordWriter: () => RecordWriter;
  readonly scheduler: () => LeaseScheduler;
  /** Takes in what is stored of the session now. */
  look(id: string): Promise<void>;
  /** Another process has let go of the session. */
  freed(id: string): void;
  lost(id: string): void;
}

/** The ownership of a pool's sessions: by claims in the records where other processes may read them. */
export function createOwnership(parts: SessionOwnershipDeps): Ownership {
  const { clock, storage, ownership } = parts.options;
  const events: OwnershipEvents = {
    foreign: (id, isForeign) => {
      const entry = parts.sessionTable.get(id);
      if (entry === undefined || entry.isForeign === isForeign) return;
      parts.sessionTable.setForeign(entry, isForeign, parts.time.now());
      parts.scheduler().rejectHopeless();
      if (!isForeign) parts.freed(id);
    },
    lost: (id) => parts.lost(id),
  };
  if (!storage.shared) {
    return new LocalOwnership(storage, {
      ...events,
      look: (id) => parts.look(id),
      settled: (id) => parts.recordWriter().flush(id),
    });
  }
  return new SharedOwnership({
    ...events,
    clock,
    ttlMs: ownership.ttlMs,
    self: ownIdentity(ownership.host),
    save: (id) => parts.recordWriter().saveInBackground(id),
    isKnown: (id) => parts.recordWriter().versionOf(id) !== undefined,
  });
}
