import { formatSession, memory, SessionPool } from "telegram-session-pool";
import { Bench } from "tinybench";
import { nothing } from "./nothing-client.js";
import { PromiseRing } from "./promise-ring.js";

async function openPool(size: number): Promise<SessionPool<object>> {
  const pool = await SessionPool.open({ client: nothing, storage: memory(), idleTimeoutMs: Number.POSITIVE_INFINITY });
  for (let index = 0; index < size; index++) {
    const authKey = new Uint8Array(256);
    new DataView(authKey.buffer).setUint32(0, index + 1);
    const session = formatSession(
      { dcId: 2, serverAddress: "149.154.167.51", port: 443, authKey, format: "gramjs", isTest: false },
      "gramjs",
    );
    await pool.add(`session-${index}`, session);
  }
  // Every session once, so that each has its client.
  for (let index = 0; index < size; index++) (await pool.acquire()).release();
  return pool;
}

const bench = new Bench({ time: 500, warmupTime: 200 });
for (const size of [10, 1_000, 100_000]) {
  const ring = new PromiseRing(Array.from({ length: size }, (_, id) => ({ id })));
  bench.add(`bare promise ring, ${size}`, async () => ring.put(await ring.take()));
  const pool = await openPool(size);
  bench.add(`acquire + release, ${size} sessions`, async () => (await pool.acquire()).release());
  bench.add(`use, ${size} sessions`, () => pool.use(() => undefined));
}
await bench.run();

const floor = bench.tasks[0]?.result;
const floorNs = floor !== undefined && "latency" in floor ? floor.latency.p50 * 1e6 : Number.NaN;
console.table(
  bench.tasks.map(({ name, result }) => {
    const ns = "latency" in result ? result.latency.p50 * 1e6 : Number.NaN;
    return { what: name, "ns, median": Math.round(ns), "times the ring of 10": (ns / floorNs).toFixed(1) };
  }),
);
