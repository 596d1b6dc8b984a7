import type { BucketRow, IncidentRow, LeaseRow, RejectedRow, RunRow, SessionRow, StatusRow } from "./frames.js";

/** One pool at one moment, ready to be sent. */
export interface Reading {
  readonly at: number;
  readonly status: StatusRow;
  readonly sessions: readonly SessionRow[];
  readonly leases: readonly LeaseRow[];
  readonly runs: readonly RunRow[];
  readonly rejected: readonly RejectedRow[];
}

/** Changes of sessions that an operator can make. */
export interface Management {
  disable(id: string, reason: string): Promise<unknown>;
  enable(id: string): Promise<unknown>;
  remove(id: string): Promise<unknown>;
}

/** A pool of the dashboard: a `SessionPool` of this process, or a storage that other processes use. */
export interface Source {
  readonly name: string;
  /** The state now. To be asked for while somebody looks. */
  read(): Reading | Promise<Reading>;
  /** What happened in and after the bucket that begins at `since`. */
  buckets(since: number): readonly BucketRow[];
  /** Incidents after that number. */
  incidents(after: number): readonly IncidentRow[];
  /** Aborts when the pool has been closed; nothing is read then. */
  readonly ended: AbortSignal | undefined;
  /** `undefined` where nothing can be changed. */
  readonly management: Management | undefined;
  /** Ends the observation. */
  close(): void;
}
