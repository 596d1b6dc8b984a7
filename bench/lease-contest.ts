import { formatSession, type Lease, memory, SessionPool, type SessionPoolOptions } from "telegram-session-pool";
import { nothing } from "./nothing-client.js";
import { PromiseRing } from "./promise-ring.js";
import { RESOURCE_POOLS, type ResourcePool } from "./resource-pools.js";
import type { Batch } from "./timing.js";

/** The contestants that every contest has. */
export const OURS = "acquire + release";
const USE = "use";
export const MEASURED = "acquire + release with metrics";
export const OBSERVED = "acquire + release with a dashboard";
export const RING = "a bare promise ring";
const WORKERS = 64;

type Settings = Partial<SessionPoolOptions<object>>;

async function openPool(size: number, settings: Settings = {}): Promise<SessionPool<object>> {
  const pool = await SessionPool.open({
    client: nothing,
    storage: memory(),
    idleTimeoutMs: Number.POSITIVE_INFINITY,
    ...settings,
  });
  for (let index = 0; index < size; index++) {
    const authKey = new Uint8Array(256);
    new DataView(authKey.buffer).setUint32(0, index + 1);
    const server = { dcId: 2, serverAddress: "149.154.167.51", port: 443, isTest: false };
    await pool.add(`session-${index}`, formatSession({ ...server, authKey, format: "gramjs" }, "gramjs"));
  }
  // Every session once, so that each has its client.
  for (let index = 0; index < size; index++) (await pool.acquire()).release();
  return pool;
}

/** Takes every resource, so that each is made, and gives all of them back, or every second one. */
async function fill(pool: ResourcePool, size: number, isHalfOut: boolean): Promise<void> {
  const taken: unknown[] = [];
  for (let index = 0; index < size; index++) taken.push(await pool.acquire());
  for (const [index, resource] of taken.entries()) {
    if (!isHalfOut || index % 2 === 0) await pool.release(resource as never);
  }
}

/** One caller after the other on so many resources, all free or every second one out. */
export async function contestants(
  size: number,
  isHalfOut: boolean,
  peers: readonly string[] = Object.keys(RESOURCE_POOLS),
): Promise<Map<string, Batch>> {
  const batches = new Map<string, Batch>();
  const ring = new PromiseRing(Array.from({ length: size }, (_, id) => ({ id })));
  batches.set(RING, async (times) => {
    for (let run = 0; run < times; run++) ring.put(await ring.take());
  });
  const pool = await openPool(size);
  if (isHalfOut)
    await fill({ acquire: () => pool.acquire(), release: (lease: Lease<object>) => lease.release() }, size, true);
  batches.set(OURS, async (times) => {
    for (let run = 0; run < times; run++) (await pool.acquire()).release();
  });
  batches.set(USE, async (times) => {
    for (let run = 0; run < times; run++) await pool.use(() => undefined);
  });
  for (const [name, make] of Object.entries(RESOURCE_POOLS)) {
    if (!peers.includes(name)) continue;
    const peer = make(size);
    await fill(peer, size, isHalfOut);
    batches.set(name, async (times) => {
      for (let run = 0; run < times; run++) await peer.release((await peer.acquire()) as never);
    });
  }
  return batches;
}

/** The same without metrics, with them, and with a dashboard at which nobody looks. */
export async function measuredContestants(size: number): Promise<Map<string, Batch>> {
  const [plain, measured, observed] = [await openPool(size), await openPool(size), await openPool(size)];
  measured.metrics();
  observed.observe();
  const batchOf =
    (pool: SessionPool<object>): Batch =>
    async (times) => {
      for (let run = 0; run < times; run++) (await pool.acquire()).release();
    };
  return new Map([
    [OURS, batchOf(plain)],
    [MEASURED, batchOf(measured)],
    [OBSERVED, batchOf(observed)],
  ]);
}

/** So many workers on few sessions, each of which holds its lease for a turn of the event loop. */
async function contended(take: () => Promise<() => unknown>, times: number): Promise<void> {
  let left = times;
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const giveBack = await take();
      await new Promise((resolve) => setImmediate(resolve));
      await giveBack();
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, worker));
}

/** Sixty-four workers on so many resources. */
export async function contendedContestants(
  size: number,
  peers: readonly string[] = Object.keys(RESOURCE_POOLS),
): Promise<Map<string, Batch>> {
  const ring = new PromiseRing(Array.from({ length: size }, (_, id) => ({ id })));
  const pool = await openPool(size);
  const takes = new Map<string, () => Promise<() => unknown>>([
    [RING, () => ring.take().then((item) => () => ring.put(item))],
    [OURS, () => pool.acquire().then((lease) => () => lease.release())],
  ]);
  for (const [name, make] of Object.entries(RESOURCE_POOLS)) {
    if (!peers.includes(name)) continue;
    const peer = make(size);
    takes.set(name, () => peer.acquire().then((resource) => () => peer.release(resource as never)));
  }
  return new Map([...takes].map(([name, take]) => [name, (times: number) => contended(take, times)]));
}
