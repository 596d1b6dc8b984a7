import { createInterface } from "node:readline";
import type { TelegramClient } from "telegram";
import type { Lease, SessionPool } from "../../../src/index.js";
import { seededRandom } from "../../fakes/seeded-random.js";
import { openPool, orders, storage, tell } from "./child.js";

/** A process that shares its file with others: it does what it is told, and tells what becomes of it. */
const { seed = 1, ...options } = JSON.parse(orders.mode);
const random = seededRandom(seed);
const ids = orders.accounts.map(({ name }) => name);
let pool: SessionPool<TelegramClient> | undefined;
let isWorking = false;

/** Between two rounds of calls: long enough for a test to stop the process meanwhile. */
const BETWEEN_ROUNDS_MS = 300;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const codeOf = (error: unknown): unknown => (error as { code?: unknown } | undefined)?.code ?? String(error);
const opened = (): SessionPool<TelegramClient> => {
  if (pool === undefined) throw new Error("not opened");
  return pool;
};

/** Takes a session and keeps it. */
async function hold(id: string): Promise<Lease<TelegramClient>> {
  const lease = await opened().acquire({ id });
  lease.signal.addEventListener("abort", () => tell("aborted", { id, code: codeOf(lease.signal.reason) }));
  await lease.client.getMe().catch((error) => tell("refused", { id, code: codeOf(error) }));
  tell("got", { id });
  return lease;
}

/** Calls on each session in turn, until it is refused; between the rounds nothing is under way. */
async function callInTurn(leases: readonly Lease<TelegramClient>[]): Promise<void> {
  const left = new Set(leases);
  while (left.size > 0) {
    for (const lease of left) {
      try {
        await lease.client.getMe();
      } catch (error) {
        left.delete(lease);
        tell("refused", { id: lease.id, code: codeOf(error) });
      }
    }
    tell("round", { left: left.size });
    await pause(BETWEEN_ROUNDS_MS);
  }
}

/** Uses one session after the other, so that each of them rests now and then. */
async function work(): Promise<void> {
  isWorking = true;
  while (isWorking) {
    const id = ids[Math.floor(random() * ids.length)] ?? "";
    const done = opened().use((client) => client.getMe(), { id, wait: 50 });
    await done.then(
      () => tell("worked", { id }),
      () => {},
    );
    await pause(50);
  }
  tell("rests");
}

const commands: Readonly<Record<string, () => Promise<unknown>>> = {
  async open() {
    pool = await openPool(options);
    pool.on("cooled", (event) => tell("cooled", event));
    pool.on("ownershipLost", (event) => tell("ownershipLost", event));
    pool.on("storageFailed", ({ error }) => tell("storageFailed", { error: String(error) }));
    tell("opened", { ids: pool.sessions().map(({ id }) => id) });
  },
  hold: () => Promise.all(ids.map(hold)),
  calls: async () => callInTurn(await Promise.all(ids.map(hold))),
  work,
  async rest() {
    isWorking = false;
  },
  async look() {
    tell("sees", {
      states: opened()
        .sessions()
        .map(({ state }) => state),
    });
  },
  async close() {
    await pool?.close({ timeoutMs: 100 });
    tell("closed");
  },
  /** Ends the thread without giving anything up, while no statement is under way: that would end the process (sqlite3). */
  async vanish() {
    await storage.close?.();
    process.exit();
  },
};

process.on("SIGTERM", () => void commands.close?.());
// It stays, also when it has closed its pool: what it gave up is free because it gave it up.
setInterval(() => {}, 1_000);
createInterface({ input: process.stdin }).on("line", (word) => {
  commands[word]?.().catch((error: unknown) => tell("failed", { command: word, code: codeOf(error) }));
});
tell("loaded");
