/** What `map` costs for an item beyond the work itself: 100,000 trivial items over 100 sessions. */
import { formatSession, memory, SessionPool } from "telegram-session-pool";
import { nothing } from "./nothing-client.js";

const ITEMS = 100_000;
const SESSIONS = 100;
const ROUNDS = 5;

const pool = await SessionPool.open({ client: nothing, storage: memory(), idleTimeoutMs: Number.POSITIVE_INFINITY });
for (let index = 0; index < SESSIONS; index++) await pool.add(`session-${index}`, sessionNumber(index));
for (let index = 0; index < SESSIONS; index++) (await pool.acquire()).release();
const items = Array.from({ length: ITEMS }, (_, index) => index);

function sessionNumber(index: number): string {
  const authKey = new Uint8Array(256);
  new DataView(authKey.buffer).setUint32(0, index + 1);
  return formatSession(
    { dcId: 2, serverAddress: "149.154.167.51", port: 443, authKey, format: "gramjs", isTest: false },
    "gramjs",
  );
}

async function mapAll(options: Parameters<typeof pool.map<number, undefined>>[2]): Promise<void> {
  let done = 0;
  for await (const { ok } of pool.map(items, () => undefined, options)) if (ok) done++;
  if (done !== ITEMS) throw new Error(`${done} of ${ITEMS}`);
}

/** The least that doing it by hand costs: so many workers, each takes the next item when it is done. */
async function byHand(): Promise<void> {
  const queue = items.values();
  const worker = async (): Promise<void> => {
    for (const _ of queue) await pool.use(() => undefined);
  };
  await Promise.all(Array.from({ length: SESSIONS }, worker));
}

let runs = 0;
const ways: readonly (readonly [string, () => Promise<void>])[] = [
  ["use, 100 workers by hand", byHand],
  ["map", () => mapAll({})],
  ["map, ordered", () => mapAll({ ordered: true })],
  ["map, with progress", () => mapAll({ onProgress: () => {} })],
  [
    "map, with a checkpoint in memory",
    () => mapAll({ checkpoint: { storage: memory(), name: `${runs++}`, key: String } }),
  ],
];
const table: object[] = [];
let floor = Number.NaN;
for (const [what, run] of ways) {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const startedAt = performance.now();
    await run();
    times.push(((performance.now() - startedAt) * 1_000) / ITEMS);
  }
  const median = times.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? Number.NaN;
  if (Number.isNaN(floor)) floor = median;
  table.push({ what, "µs an item, median": median.toFixed(2), "times by hand": (median / floor).toFixed(2) });
}
console.table(table);
await pool.close();
