import { describe, expect, test } from "vitest";
import { nodeDriver } from "../../adapters/storage/sqlite/handle-driver.js";
import { keyvDriver } from "../../adapters/storage/sqlite/keyv-driver.js";
import type { SqliteDriver } from "../../adapters/storage/sqlite/sqlite-driver.js";
import { sqlite } from "../../adapters/storage/sqlite.js";
import { isReserved } from "../../src/options/validators.js";
import { testSeed } from "../fakes/test-seed.js";
import type { Talk } from "../ownership/processes/child.js";
import { type Child, type Line, startChild, startNeighbourThread } from "./child-processes.js";
import { expectPeace, type Stage, stage, until } from "./support.js";

const TIMEOUT_MS = 60_000;
/** On a machine with much else to do. */
const WITHIN_MS = 30_000;
/** Short, to see a claim end; long enough for a process that gets no turn on a busy machine for a while. */
const TTL_MS = 3_000;

interface NeighbourOptions {
  readonly ownership: { readonly ttlMs: number; readonly host?: string };
  readonly idleTimeoutMs?: number;
}

/** Processes that wait to be told to open their pools. */
async function startNeighbours(scene: Stage, ...options: readonly NeighbourOptions[]): Promise<readonly Child[]> {
  const seed = testSeed();
  const children = options.map((given, index) =>
    startChild(scene, "neighbour", JSON.stringify({ ...given, seed: seed + index })),
  );
  await Promise.all(children.map((child) => child.said("loaded")));
  return children;
}

async function open(...neighbours: readonly Talk[]): Promise<void> {
  for (const neighbour of neighbours) neighbour.tell("open");
  await Promise.all(neighbours.map((neighbour) => neighbour.said("opened")));
}

const eventually = (what: string, holds: () => unknown): Promise<void> => until(what, holds, WITHIN_MS);

/**
 * Stops the process between two rounds of calls, when it neither reads nor writes the file: SQLite's locks are held by
 * a process that is stopped, and nobody else could use the file.
 */
async function stopBetweenRounds(scene: Stage, neighbour: Child): Promise<void> {
  for (;;) {
    await neighbour.said("round", linesOf(neighbour, "round").length + 1);
    neighbour.process.kill("SIGSTOP");
    if (await isUnlocked(scene.file)) return;
    neighbour.process.kill("SIGCONT");
  }
}

async function isUnlocked(file: string): Promise<boolean> {
  let engine: SqliteDriver | undefined;
  try {
    engine = nodeDriver(file) ?? (await keyvDriver(file));
    await engine.query("PRAGMA busy_timeout=50");
    await engine.query("BEGIN EXCLUSIVE");
    await engine.query("ROLLBACK");
    return true;
  } catch {
    return false;
  } finally {
    await engine?.close();
  }
}

const linesOf = ({ lines }: Talk, word: string): readonly Line[] => lines.filter((line) => line.word === word);
const idsOf = (talk: Talk, word: string): readonly unknown[] =>
  [...new Set(linesOf(talk, word).map(({ id }) => id))].sort();

/** Asks until what the pool sees of its sessions is so. */
async function sees(neighbour: Talk, what: string, holds: (states: readonly string[]) => boolean): Promise<void> {
  await eventually(`it sees ${what}`, async () => {
    neighbour.tell("look");
    const { states } = await neighbour.said("sees", linesOf(neighbour, "sees").length + 1);
    return holds(states as readonly string[]);
  });
}

const isForeign = (state: string): boolean => state === "foreign";

describe("a process that is stopped past its ttl and continued (SIGSTOP, SIGCONT)", () => {
  test(
    "on the same host, keeps its sessions until it releases them by its own clock",
    async () => {
      const scene = await stage({ accounts: 2 });
      const ttlMs = TTL_MS;
      const [first, second] = await startNeighbours(scene, { ownership: { ttlMs } }, { ownership: { ttlMs } });
      if (first === undefined || second === undefined) throw new Error("two were started");
      await open(first);
      first.tell("calls");
      await first.said("round", 2);
      await open(second);
      await sees(second, "that they are foreign", (states) => states.every(isForeign));
      await stopBetweenRounds(scene, first);
      const stoppedAt = Date.now();
      second.tell("hold");
      while (Date.now() < stoppedAt + 1.5 * ttlMs)
        await sees(second, "that they are foreign", (s) => s.every(isForeign));
      expect({ got: idsOf(second, "got"), connections: scene.server.connections() }).toMatchObject({
        got: [],
        connections: { length: 2 },
      });
      first.process.kill("SIGCONT");
      await eventually("it loses its leases", () => linesOf(first, "refused").length === 2);
      expect(linesOf(first, "refused").map(({ code }) => code)).toEqual(["OWNERSHIP_LOST", "OWNERSHIP_LOST"]);
      await eventually("the other has them", () => linesOf(second, "got").length === 2);
      expect(linesOf(second, "refused")).toEqual([]);
      expectPeace(scene.server);
    },
    TIMEOUT_MS,
  );

  test(
    "on another host, loses its sessions with their state, and sends nothing on them",
    async () => {
      const scene = await stage({ accounts: 2 });
      const { server } = scene;
      const [first, second] = await startNeighbours(
        scene,
        { ownership: { ttlMs: TTL_MS, host: "one" } },
        { ownership: { ttlMs: TTL_MS, host: "two" } },
      );
      if (first === undefined || second === undefined) throw new Error("two were started");
      await open(first);
      server.fail({ account: "account2", method: "users.GetUsers", message: "FLOOD_WAIT_4", skip: 2, times: 1 });
      first.tell("calls");
      const cooled = await first.said("cooled");
      await stopBetweenRounds(scene, first);
      const own = new Set(server.connections().map(({ connection }) => connection));
      const callsBefore = server.calls().length;
      await open(second);
      second.tell("hold");
      await eventually("the other has them", () => linesOf(second, "got").length === 2);
      expect(idsOf(second, "got")).toEqual(["account1", "account2"]);
      const taken = server.connections().filter(({ connection }) => !own.has(connection));
      expect(taken.map(({ account }) => account).sort()).toEqual(["account1", "account2"]);
      const rested = taken.find(({ account }) => account === "account2");
      expect(rested?.openedAt).toBeGreaterThanOrEqual(Number(cooled.until));
      first.process.kill("SIGCONT");
      await eventually("it has lost both", () => linesOf(first, "ownershipLost").length === 2);
      await eventually("its call was refused", () => linesOf(first, "refused").some(({ id }) => id === "account1"));
      expect(linesOf(first, "refused").find(({ id }) => id === "account1")?.code).toBe("OWNERSHIP_LOST");
      expect(linesOf(first, "aborted").map(({ code }) => code)).toEqual(["OWNERSHIP_LOST", "OWNERSHIP_LOST"]);
      const ownOnes = () => server.connections().filter(({ connection }) => own.has(connection));
      await eventually("its sockets are closed", () => ownOnes().every(({ closedAt }) => closedAt !== null));
      const late = server.calls().slice(callsBefore);
      expect(late.filter(({ connection }) => own.has(connection))).toEqual([]);
      expect(late.map(({ account }) => account)).toEqual(expect.arrayContaining(["account1", "account2"]));
      expect(server.violations()).toEqual([]);
      expect(server.connections().filter(({ closedAt }) => closedAt === null)).toHaveLength(2);
      // The stopped process's sockets were still open when the other connected: the named limit. Later none were.
      expect(server.maxConnectionsPerKey()).toBe(2);
      server.clear();
    },
    TIMEOUT_MS,
  );
});

describe("two processes that start at once with the same sessions", () => {
  test(
    "add() - every session once; they share by use, and what one releases by close() the other can use",
    async () => {
      const scene = await stage({ accounts: 4 });
      const names = scene.server.accounts.map(({ name }) => name);
      const ttlMs = TTL_MS;
      const options = { ownership: { ttlMs }, idleTimeoutMs: 100 };
      const [one, two] = await startNeighbours(scene, options, options);
      if (one === undefined || two === undefined) throw new Error("two were started");
      await open(one, two);
      expect(await sessionsIn(scene.file)).toEqual(names);
      for (const twin of [one, two]) twin.tell("work");
      await eventually("each has used every session", () =>
        [one, two].every((twin) => idsOf(twin, "worked").length === names.length),
      );
      for (const twin of [one, two]) await sees(twin, "every session", ({ length }) => length === names.length);
      two.tell("rest");
      one.tell("rest");
      await Promise.all([one, two].map((twin) => twin.said("rests")));
      one.tell("hold");
      await eventually("one has them all", () => linesOf(one, "got").length === names.length);
      await sees(two, "that they are foreign", (states) => states.every(isForeign));
      one.process.kill("SIGTERM");
      const { at } = await one.said("closed");
      await sees(two, "that they are free", (states) => states.every((state) => state === "free"));
      // By its look at the storage every third of the ttl, not by the end of a claim.
      expect(Date.now() - at).toBeLessThan(ttlMs / 3 + 5_000);
      two.tell("hold");
      await eventually("the other has them all", () => linesOf(two, "got").length === names.length);
      expect([one, two].flatMap((twin) => [...linesOf(twin, "failed"), ...linesOf(twin, "storageFailed")])).toEqual([]);
      expectPeace(scene.server);
    },
    TIMEOUT_MS,
  );
});

describe("a worker thread", () => {
  test(
    "has its own sessions beside the main thread's; they are free after it has ended without a word",
    async () => {
      const scene = await stage({ accounts: 3 });
      const thread = startNeighbourThread(scene, JSON.stringify({ ownership: {} }));
      await thread.said("loaded");
      const main = await scene.open();
      const mine = await main.acquire({ id: "account1" });
      await open(thread);
      thread.tell("hold");
      await eventually("it has the others", () => linesOf(thread, "got").length === 2);
      await expect(main.acquire({ id: "account2", wait: false })).rejects.toMatchObject({
        code: "NO_SESSION_AVAILABLE",
      });
      // Whether the third is known to be taken yet depends on the watch of the file.
      const third = expect.stringMatching(/^(free|foreign)$/);
      expect(main.sessions().map(({ state }) => state)).toEqual(["leased", "foreign", third]);
      await expect(main.acquire({ id: "account3", wait: false })).rejects.toMatchObject({
        code: "NO_SESSION_AVAILABLE",
      });
      await mine.client.getMe();
      expect(idsOf(thread, "got")).toEqual(["account2", "account3"]);
      const waiting = main.acquire({ id: "account2", wait: WITHIN_MS });
      thread.tell("vanish");
      const taken = await waiting;
      await taken.client.getMe();
      expect(await main.use((_, lease) => lease.id, { id: "account3", wait: 3_000 })).toBe("account3");
      expectPeace(scene.server);
    },
    TIMEOUT_MS,
  );
});

async function sessionsIn(file: string): Promise<readonly string[]> {
  const storage = sqlite(file);
  await storage.open?.();
  const records = await storage.list();
  await storage.close?.();
  return records
    .map(({ id }) => id)
    .filter((id) => !isReserved(id))
    .sort();
}
