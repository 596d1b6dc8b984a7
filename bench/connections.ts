import { formatSession, memory, SessionPool } from "telegram-session-pool";
import type { ClientAdapter } from "telegram-session-pool/adapter";
import { nothing } from "./nothing-client.js";

const SESSIONS = 5_000;
const CONNECTED = 100;
const USES = 100_000;
const KEYS = 5_000;

/** A cache of so many that throws the longest unused out: what `maxConnected` should be. */
class PerfectLru {
  misses = 0;
  readonly #size: number;
  readonly #kept = new Set<string>();

  constructor(size: number) {
    this.#size = size;
  }

  use(id: string): void {
    if (!this.#kept.delete(id)) this.misses++;
    const [oldest] = this.#kept;
    if (this.#kept.size >= this.#size && oldest !== undefined) this.#kept.delete(oldest);
    this.#kept.add(id);
  }
}

let connects = 0;
const counting: ClientAdapter<object> = {
  ...nothing,
  create: (request) => {
    connects++;
    return nothing.create(request);
  },
};

function heapMb(): number {
  globalThis.gc?.();
  globalThis.gc?.();
  return process.memoryUsage().heapUsed / 2 ** 20;
}

const pool = await SessionPool.open({ client: counting, storage: memory(), maxConnected: CONNECTED });
for (let index = 0; index < SESSIONS; index++) {
  const authKey = new Uint8Array(256);
  new DataView(authKey.buffer).setUint32(0, index + 1);
  const server = { dcId: 2, serverAddress: "149.154.167.51", port: 443, isTest: false };
  await pool.add(`session-${index}`, formatSession({ ...server, authKey, format: "gramjs" }, "gramjs"));
}
const lru = new PerfectLru(CONNECTED);
let state = 1;
/** Few keys often, many seldom: the square of an even chance. */
const randomKey = (): string => {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return `key-${Math.floor((state / 2 ** 32) ** 4 * KEYS)}`;
};
const heaps: number[] = [];
for (let use = 0; use < USES; use++) {
  if (use % (USES / 5) === 0) heaps.push(heapMb());
  const lease = await pool.acquire({ key: randomKey() });
  lru.use(lease.id);
  lease.release();
}
heaps.push(heapMb());
await pool.close();
console.table({
  connects,
  "misses of a perfect LRU": lru.misses,
  "connects more than those, %": (((connects - lru.misses) / lru.misses) * 100).toFixed(2),
  "heap MB, every 20,000 uses": heaps.map((mb) => mb.toFixed(1)).join(" "),
});
