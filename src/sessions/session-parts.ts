import type { ConnectBackoff } from "../connections/connect-backoff.js";
import type { ConnectionPool } from "../connections/connection-pool.js";
import type { Ownership } from "../ownership/ownership.js";
import type { PoolLifecycle } from "../pool-lifecycle.js";
import type { AccountFacts } from "../state/account-facts.js";
import type { SessionRegistry } from "../state/session-registry.js";
import type { SessionStateManager } from "../state/session-state-manager.js";
import type { PeerCacheWriter } from "../storage/peer-cache-writer.js";
import type { RecordWriter } from "../storage/record-writer.js";

/** Everything that a change of the sessions may concern: what adds, changes, removes and loads them is built on it. */
export interface SessionParts {
  readonly lifecycle: PoolLifecycle;
  readonly registry: SessionRegistry;
  readonly ownership: Ownership;
  readonly sessionState: SessionStateManager;
  readonly facts: AccountFacts;
  readonly recordWriter: RecordWriter;
  readonly peers: PeerCacheWriter;
  readonly connections: ConnectionPool<unknown>;
  readonly backOffs: ConnectBackoff;
}
