import { AcquireRequest } from "../../src/acquire/acquire-request.js";
import { LeaseScheduler } from "../../src/acquire/lease-scheduler.js";
import { AbortListeners } from "../../src/common/abort-listeners.js";
import { ProcessRef } from "../../src/common/process-ref.js";
import { CredentialEncryption } from "../../src/encryption/credentials.js";
import type { AcquireOptions } from "../../src/options/options.js";
import { PooledSession } from "../../src/state/pooled-session.js";
import { SessionTable } from "../../src/state/session-table.js";
import { StorageTimeout } from "../../src/storage/storage-timeout.js";
import { type FakeContext, fakeContext } from "../fakes/pool-context.js";
import { type Watched, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { VirtualClock } from "../fakes/virtual-clock.js";

/** A lease scheduler on a real session table, without connections and leases. */
export interface SchedulerParts {
  readonly context: FakeContext;
  readonly clock: VirtualClock;
  readonly sessionTable: SessionTable<PooledSession>;
  readonly scheduler: LeaseScheduler;
  readonly abortListeners: AbortListeners;
  readonly processRef: ProcessRef;
  /** The session of that id. */
  session(id: string): PooledSession;
  /** Waits with the given options, and records the id in {@link served}. */
  wait(name: string, options?: AcquireOptions): Watched<string>;
  /** Names of the callers, in the order in which they were served. */
  readonly served: readonly string[];
}

/** Creates the parts, with one session for each id; the tags of a session follow its id: `"a"`, `"b:eu"`. */
export async function createScheduler(...ids: readonly string[]): Promise<SchedulerParts> {
  const clock = new VirtualClock();
  const context = fakeContext({ clock });
  const { time } = context;
  const encryption = new CredentialEncryption(undefined, new StorageTimeout(clock, 5_000));
  const sessionTable = new SessionTable<PooledSession>({ leasesPerSession: 1, maxConnected: Number.POSITIVE_INFINITY });
  for (const named of ids) {
    const [id = named, ...tags] = named.split(":");
    const credentials = await encryption.seal(id, sessionString(id), {});
    sessionTable.add([new PooledSession({ id, tags, addedAt: 0, credentials, fingerprint: id })], time.now());
  }
  const abortListeners = new AbortListeners();
  const processRef = new ProcessRef(clock);
  const scheduler = new LeaseScheduler(context, sessionTable, abortListeners, processRef);
  const served: string[] = [];
  const wait = (name: string, options: AcquireOptions = {}): Watched<string> => {
    const request = new AcquireRequest(options);
    const deadline = time.now() + request.waitMs;
    return watch(
      scheduler.wait(request, deadline, ({ id }) => {
        served.push(name);
        return id;
      }),
    );
  };
  const session = (id: string): PooledSession => {
    const entry = sessionTable.get(id);
    if (entry === undefined) throw new Error(`There is no session "${id}".`);
    return entry;
  };
  return { context, clock, sessionTable, scheduler, abortListeners, processRef, session, wait, served };
}
