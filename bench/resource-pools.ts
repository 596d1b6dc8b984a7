import { createPool as createGenericPool } from "generic-pool";
import { createPool as createLightningPool } from "lightning-pool";
import { Pool as PgPool } from "pg";
import { Pool as TarnPool } from "tarn";

/** Another pool, as far as it is compared. */
export interface ResourcePool {
  acquire(): Promise<unknown>;
  release(resource: never): unknown;
}

/** Makes a pool that may hold so many resources. */
export type Maker = (size: number) => ResourcePool;

interface Resource {
  readonly id: number;
}

/** Callers that may wait at once: no pool is to refuse any. */
const MOST_WAITERS = 1_000_000;

let made = 0;

/** A connection that is none. */
class MockClient {
  readonly id: number = ++made;
  /** Without it pg-pool throws a client away at its release and makes another one. */
  readonly _queryable = true;
  connect(done: () => void): void {
    done();
  }
  end(done?: () => void): void {
    done?.();
  }
  on(): void {}
  once(): void {}
  removeListener(): void {}
}

const create = async (): Promise<Resource> => ({ id: ++made });
const destroy = async (): Promise<void> => {};

/** The pools to compare with, each with its timers off, holding resources that cost nothing. */
export const RESOURCE_POOLS: Readonly<Record<string, Maker>> = {
  "pg-pool": (max) => {
    const pool = new PgPool({ max, idleTimeoutMillis: 0, Client: MockClient as never });
    return { acquire: () => pool.connect(), release: (client: { release(): void }) => client.release() };
  },
  "generic-pool": (max) => createGenericPool({ create, destroy }, { max, min: 0, maxWaitingClients: MOST_WAITERS }),
  "lightning-pool": (max) => createLightningPool({ create, destroy }, { max, min: 0, maxQueue: MOST_WAITERS }),
  tarn: (max) => {
    const pool = new TarnPool<Resource>({ create, destroy, min: 0, max });
    return { acquire: () => pool.acquire().promise, release: (resource) => pool.release(resource) };
  },
};
