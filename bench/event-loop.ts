import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import { formatSession, memory, parseSession, SessionPool, type SessionStorage } from "telegram-session-pool";
import { encodeRecord } from "../src/storage/record.js";
import { authKeyFingerprint } from "../src/telegram/session-data.js";
import { nothing } from "./nothing-client.js";
import { median } from "./timing.js";

const HERD = 100_000;
const WAITERS = 10_000;
const ROUNDS = 5;

/** The longest that the event loop was held while something went on. */
async function longestHold(work: () => Promise<unknown>): Promise<number> {
  let longest = 0;
  let isOver = false;
  const watch = (async () => {
    for (let last = performance.now(); !isOver; ) {
      await turn();
      const now = performance.now();
      longest = Math.max(longest, now - last);
      last = now;
    }
  })();
  await work();
  isOver = true;
  await watch;
  return longest;
}

/** A storage with sessions that all rest until one instant. */
async function herd(count: number, until: number): Promise<SessionStorage> {
  const storage = memory();
  for (let index = 0; index < count; index++) {
    const authKey = new Uint8Array(256);
    new DataView(authKey.buffer).setUint32(0, index + 1);
    const server = { dcId: 2, serverAddress: "149.154.167.51", port: 443, isTest: false };
    const session = formatSession({ ...server, authKey, format: "gramjs" }, "gramjs");
    const record = encodeRecord({
      session,
      fingerprint: authKeyFingerprint(parseSession(session).authKey),
      tags: [],
      profile: {},
      addedAt: until - 86_400_000,
      lastUsedAt: until - 3_600_000 + index,
      cooldown: { until, reason: "FLOOD" },
      methods: {},
      peers: {},
      restriction: null,
      deadReason: null,
      disabledReason: null,
      owner: null,
      isRemoved: false,
      accountId: null,
      isBot: null,
      expiresAt: null,
      authorizationTtlDays: null,
    });
    await storage.write(`session-${index}`, 0, record);
  }
  return storage;
}

async function holdOfHerd(): Promise<{ hold: number; first: string }> {
  const until = Date.now() + 20_000;
  const pool = await SessionPool.open({ client: nothing, storage: await herd(HERD, until) });
  let recovered = 0;
  pool.on("recovered", () => recovered++);
  const waiting = Array.from({ length: 10 }, () => pool.acquire());
  await sleep(until - Date.now() - 300);
  globalThis.gc?.();
  await sleep(100);
  if (pool.status().cooling !== HERD)
    throw new Error(
      `The herd was due before it was watched: ${JSON.stringify(pool.status())}, ${until - Date.now()} ms left.`,
    );
  const hold = await longestHold(async () => {
    while (recovered < HERD) await sleep(20);
  });
  const ids = (await Promise.all(waiting)).map((lease) => lease.id);
  await pool.destroy();
  return { hold, first: ids.join(" ") };
}

/** A promise that is refused, as many, as plain as can be. */
async function holdOfPromises(count: number): Promise<number> {
  const refusals: ((error: Error) => void)[] = [];
  const waiting = Array.from({ length: count }, () => new Promise((_, refuse) => refusals.push(refuse)));
  const settled = Promise.allSettled(waiting.map(async (one) => await one));
  const reason = new Error("enough");
  return longestHold(async () => {
    for (const refuse of refusals) refuse(reason);
    await settled;
  });
}

async function holdOfAbort(count: number): Promise<number> {
  const pool = await SessionPool.open({ client: nothing, storage: await herd(1, 0) });
  const lease = await pool.acquire();
  const abort = new AbortController();
  const settled = Promise.allSettled(Array.from({ length: count }, () => pool.acquire({ signal: abort.signal })));
  await turn();
  const hold = await longestHold(async () => {
    abort.abort();
    await settled;
  });
  lease.release();
  await pool.close();
  return hold;
}

async function rounds(measure: () => Promise<number>): Promise<string> {
  const holds: number[] = [];
  for (let round = 0; round < ROUNDS; round++) holds.push(await measure());
  return `${median(holds).toFixed(1)} ms`;
}

const idle = await longestHold(() => sleep(1_000));
const herds = [await holdOfHerd(), await holdOfHerd(), await holdOfHerd()];
console.table({
  "nothing, for a second": `${idle.toFixed(1)} ms`,
  [`${HERD} sessions due at one instant`]: `${median(herds.map(({ hold }) => hold)).toFixed(1)} ms`,
  [`${WAITERS} waiters aborted by one signal`]: await rounds(() => holdOfAbort(WAITERS)),
  [`${WAITERS} bare promises refused`]: await rounds(() => holdOfPromises(WAITERS)),
});
console.log(`The longest hold of the event loop. The ten that waited for the herd got ${herds[0]?.first}.`);
