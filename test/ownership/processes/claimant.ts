import { createInterface } from "node:readline";
import { type Lease, NoSessionAvailableError, OwnershipLostError, SessionPool } from "../../../src/index.js";
import { seededRandom } from "../../fakes/seeded-random.js";
import { sessionString } from "../../fakes/sessions.js";
import { openPlace, type PlaceAddress } from "./places.js";
import { Referee, refereedClient } from "./refereed-client.js";

/** What a contest is about. */
interface Contest {
  readonly address: PlaceAddress;
  /** Where the lock files are. */
  readonly folder: string;
  /** Of the order and the pauses of this process. */
  readonly seed: number;
  readonly ttlMs?: number;
  readonly idleTimeoutMs?: number;
}

/** How many claims are under way at once. */
const HANDS = 16;

const say = (word: string, details: object = {}): void => {
  process.stdout.write(`${JSON.stringify({ word, ...details })}\n`);
};
const commands = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const nextCommand = async () => JSON.parse((await commands.next()).value ?? '{"word":"leave"}');

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const drawn = items.map((item) => ({ item, at: random() }));
  return drawn.sort((one, other) => one.at - other.at).map(({ item }) => item);
}

/** Takes every session that it can get, in an order of its own, and keeps them. */
async function claimAll(pool: SessionPool<object>, random: () => number): Promise<readonly Lease<object>[]> {
  const wanted = shuffled(pool.sessions(), random).values();
  const leases: Lease<object>[] = [];
  const hand = async (): Promise<void> => {
    for (const { id } of wanted) {
      try {
        leases.push(await pool.acquire({ id, wait: false }));
      } catch (error) {
        if (!(error instanceof NoSessionAvailableError)) throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: HANDS }, hand));
  return leases;
}

/** Takes one after the other, whichever it gets, and gives it up at once. */
async function passOn(pool: SessionPool<object>, rounds: number, random: () => number): Promise<void> {
  let left = rounds;
  const hand = async (): Promise<void> => {
    while (left-- > 0) {
      const used = pool.use(() => new Promise((resolve) => setTimeout(resolve, random() * 3)));
      // On a busy machine it may not come to renewing so short a claim: to give it up is right.
      await used.catch((error: unknown) => {
        if (!(error instanceof OwnershipLostError)) throw error;
      });
    }
  };
  await Promise.all([hand(), hand()]);
}

type Change = (pool: SessionPool<object>, id: string) => Promise<unknown>;

const held = new Map<string, Lease<object>>();

/** Single changes, each of one session. */
const changes: Readonly<Record<string, Change>> = {
  add: (pool, id) => pool.add(id, sessionString(id)),
  async hold(pool, id) {
    held.set(id, await pool.acquire({ id }));
  },
  async release(_, id) {
    held.get(id)?.release();
  },
  cool: (pool, id) => pool.use((_, lease) => lease.coolDown(3_600), { id }),
  disable: (pool, id) => pool.disable(id),
  remove: (pool, id) => pool.remove(id),
};

async function take({ address, folder, seed, ttlMs, idleTimeoutMs }: Contest): Promise<void> {
  const { storage, end } = openPlace(address);
  const referee = new Referee(folder);
  const random = seededRandom(seed);
  const lost: string[] = [];
  const failures: string[] = [];
  const pool = await SessionPool.open({
    client: refereedClient(referee),
    storage,
    ownership: { ttlMs },
    idleTimeoutMs,
  });
  pool.on("ownershipLost", ({ id }) => lost.push(id));
  pool.on("storageFailed", ({ error }) => failures.push(String(error)));
  say("opened", { sessions: pool.sessions().length });
  for (let command = await nextCommand(); command.word !== "close"; command = await nextCommand()) {
    const from = performance.now();
    if (command.word === "claim") await claimAll(pool, random);
    if (command.word === "pass on") await passOn(pool, command.rounds, random);
    await changes[command.word]?.(pool, command.id);
    const { connected, connects, violations } = referee;
    say("done", { tookMs: performance.now() - from, connected, connects, violations, lost, failures });
  }
  await pool.destroy();
  await end();
  say("closed", { left: referee.connected });
}

say("ready");
for (let command = await nextCommand(); command.word !== "leave"; command = await nextCommand()) {
  if (command.word === "take") await take(command);
}
process.stdin.destroy();
