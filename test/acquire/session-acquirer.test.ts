import { expect, test } from "vitest";
import { AcquireRequest } from "../../src/acquire/acquire-request.js";
import { Nesting } from "../../src/acquire/nesting.js";
import { PeerKnowledge } from "../../src/acquire/peer-knowledge.js";
import { SessionAcquirer } from "../../src/acquire/session-acquirer.js";
import { ConnectBackoff } from "../../src/connections/connect-backoff.js";
import { type Connection, SessionChangedError } from "../../src/connections/connection.js";
import { ConnectionPool } from "../../src/connections/connection-pool.js";
import { CredentialEncryption } from "../../src/encryption/credentials.js";
import { ConnectError } from "../../src/errors.js";
import { LeaseManager } from "../../src/lease/lease-manager.js";
import { PoolLifecycle } from "../../src/pool-lifecycle.js";
import { SessionRegistry } from "../../src/state/session-registry.js";
import { SessionStateManager } from "../../src/state/session-state-manager.js";
import { StatePublisher } from "../../src/state/state-publisher.js";
import { PeerCacheWriter } from "../../src/storage/peer-cache-writer.js";
import { RecordWriter } from "../../src/storage/record-writer.js";
import { SessionSerializer } from "../../src/storage/session-serializer.js";
import { StorageTimeout } from "../../src/storage/storage-timeout.js";
import { watch } from "../fakes/pools.js";
import { settled } from "../fakes/virtual-clock.js";
import { createScheduler, type SchedulerParts } from "./scheduler-parts.js";

/** Connections that fail with the given errors, one after the other, and then stay pending. */
class FailingConnections extends ConnectionPool<unknown> {
  /** Ids of the sessions that were connected, in order. */
  readonly opened: string[] = [];
  errors: Error[] = [];

  override checkOut(id: string): Promise<Connection<unknown>> {
    this.opened.push(id);
    const error = this.errors.shift();
    return error === undefined ? new Promise(() => {}) : Promise.reject(error);
  }
}

interface AcquirerParts extends SchedulerParts {
  readonly acquirer: SessionAcquirer<unknown>;
  readonly connections: FailingConnections;
}

async function createAcquirer(...ids: readonly string[]): Promise<AcquirerParts> {
  const parts = await createScheduler(...ids);
  const { context, clock, sessionTable } = parts;
  const connections = new FailingConnections(context, () => {
    throw new Error("No connection is created.");
  });
  const encryption = new CredentialEncryption(undefined, new StorageTimeout(clock, 5_000));
  const registry = new SessionRegistry(sessionTable, context.time, new SessionSerializer(context.time, encryption));
  const recordWriter = new RecordWriter(context);
  const publisher = new StatePublisher(context, registry, recordWriter);
  const sessionState = new SessionStateManager(context, sessionTable, recordWriter, publisher);
  const base = { ...parts, sessionTable, registry, recordWriter, sessionState, connections };
  const acquirer = new SessionAcquirer(context, {
    ...base,
    lifecycle: new PoolLifecycle(context.events),
    backOffs: new ConnectBackoff(context, sessionTable),
    leases: new LeaseManager(context, base),
    nesting: new Nesting(false),
    peerKnowledge: new PeerKnowledge(context, { ...base, peers: new PeerCacheWriter(context, undefined) }),
  });
  return { ...parts, acquirer, connections };
}

const closed = (): SessionChangedError => new SessionChangedError("It was closed while it was being opened.");
const failed = (id: string): ConnectError => new ConnectError("It did not connect.", { sessionId: id });

/** Acquires any session and returns what happens then. */
async function acquire({ acquirer }: AcquirerParts, options = {}): Promise<ReturnType<typeof watch>> {
  const watched = watch((async () => acquirer.acquire(new AcquireRequest(options)))());
  await settled();
  return watched;
}

function backedOff({ context }: AcquirerParts): readonly unknown[] {
  return context.published.filter(({ name }) => name === "backedOff").map(({ event }) => (event as { id: string }).id);
}

test("acquire() - a connection closed while it was being opened: the session is tried again at once", async () => {
  const parts = await createAcquirer("a");
  parts.connections.errors = [closed()];
  await acquire(parts);
  expect(parts.connections.opened).toEqual(["a", "a"]);
  expect(backedOff(parts)).toEqual([]);
});

test("acquire() - closed twice in a row: the session backs off, and is tried again after that", async () => {
  const parts = await createAcquirer("a");
  parts.connections.errors = [closed(), closed()];
  const caller = await acquire(parts);
  expect(parts.connections.opened).toEqual(["a", "a"]);
  expect(backedOff(parts)).toEqual(["a"]);
  expect({ caller: caller.state, waiterCount: parts.scheduler.waiterCount }).toEqual({
    caller: "pending",
    waiterCount: 1,
  });
  await parts.clock.advance(2_000);
  expect(parts.connections.opened).toEqual(["a", "a", "a"]);
});

test("acquire() - closed twice with another failure in between: backs off for that failure only", async () => {
  const parts = await createAcquirer("a");
  parts.connections.errors = [closed(), failed("a"), closed()];
  await acquire(parts);
  await parts.clock.advance(2_000);
  await acquire(parts);
  await parts.clock.advance(2_000);
  expect(parts.connections.opened.length).toBeGreaterThanOrEqual(4);
  expect(backedOff(parts)).toEqual(["a"]);
});

test("acquire() - closed because the session has become unavailable: does not count", async () => {
  const parts = await createAcquirer("a", "b");
  const { sessionTable, session, context } = parts;
  parts.connections.errors = [closed()];
  const [a, now] = [session("a"), context.time.now()];
  const caller = acquire(parts);
  sessionTable.setForeign(a, true, now);
  await caller;
  expect(parts.connections.opened).toEqual(["a", "b"]);
  sessionTable.setForeign(a, false, now);
  parts.connections.errors = [closed()];
  await acquire(parts);
  expect(parts.connections.opened).toEqual(["a", "b", "a", "a"]);
  expect(backedOff(parts)).toEqual([]);
});

test("acquire() - a session that does not connect: the next one is tried, and the error is thrown after the last", async () => {
  const parts = await createAcquirer("a", "b");
  const last = failed("b");
  parts.connections.errors = [failed("a"), last];
  const caller = await acquire(parts);
  expect(parts.connections.opened).toEqual(["a", "b"]);
  expect(caller.error).toBe(last);
});

test("acquire({ id }) - a session that does not connect: rejects with the error, and the session backs off", async () => {
  const parts = await createAcquirer("a", "b");
  const error = failed("a");
  parts.connections.errors = [error];
  const caller = await acquire(parts, { id: "a" });
  expect({ callerError: caller.error, opened: parts.connections.opened }).toEqual({
    callerError: error,
    opened: ["a"],
  });
  expect(backedOff(parts)).toEqual(["a"]);
});
