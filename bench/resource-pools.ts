import { Pool } from "pg";

/** Another pool, as far as it is compared. */
export interface ResourcePool {
  acquire(): Promise<unknown>;
  release(resource: never): unknown;
}

type Maker = (size: number) => Promise<ResourcePool>;

interface Resource {
  readonly id: number;
}

/** What of the modules is used; they have no types here, and need not be installed. */
interface GenericPool {
  createPool(factory: object, options: object): ResourcePool;
}
interface Tarn {
  readonly Pool: new (
    options: object,
  ) => { acquire(): { readonly promise: Promise<unknown> }; release(resource: never): unknown };
}
interface LightningPool {
  createPool(factory: object, options: object): ResourcePool;
}

let made = 0;

/** A connection that is none. */
class MockClient {
  readonly id: number = ++made;
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

async function load<Module>(name: string): Promise<Module | undefined> {
  try {
    return (await import(name)) as Module;
  } catch {
    return undefined;
  }
}

const create = async (): Promise<Resource> => ({ id: ++made });
const destroy = async (): Promise<void> => {};

/** The pools that are installed, by name, and the names of the others. */
export async function resourcePools(): Promise<{
  readonly makers: ReadonlyMap<string, Maker>;
  readonly missing: string[];
}> {
  const makers = new Map<string, Maker>();
  makers.set("pg-pool", async (size) => {
    const pool = new Pool({ max: size, idleTimeoutMillis: 0, Client: MockClient as never });
    return { acquire: () => pool.connect(), release: (client: { release(): void }) => client.release() };
  });
  const generic = await load<GenericPool>("generic-pool");
  if (generic !== undefined) {
    makers.set("generic-pool", async (size) => generic.createPool({ create, destroy }, { max: size, min: 0 }));
  }
  const tarn = await load<Tarn>("tarn");
  if (tarn !== undefined) {
    makers.set("tarn", async (size) => {
      const pool = new tarn.Pool({ create, destroy, min: 0, max: size });
      return { acquire: () => pool.acquire().promise, release: (resource) => pool.release(resource) };
    });
  }
  const lightning = await load<LightningPool>("lightning-pool");
  if (lightning !== undefined) {
    makers.set("lightning-pool", async (size) =>
      lightning.createPool({ create, destroy }, { max: size, min: 0, maxQueue: size }),
    );
  }
  const missing = ["generic-pool", "tarn", "lightning-pool"].filter((name) => !makers.has(name));
  return { makers, missing };
}
