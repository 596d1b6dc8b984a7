import type { SessionStorage, StoredPeer } from "../../storage/storage.js";
import { race } from "./cases.js";
import { CANARY, type Contract, type ContractCases, failureOf } from "./contract.js";

/** A watch may look once a second, and on a busy machine later. */
const HEARD_WITHIN_MS = 15_000;

/** Opening and closing. */
export const lifeCases: ContractCases = {
  "open() - twice is once": async (contract) => {
    const storage = await contract.open();
    const version = await contract.won(storage.write("a", 0, "one"));
    await Promise.all([storage.open?.(), storage.open?.()]);
    contract.expect(await storage.read("a")).toEqual({ id: "a", version, data: "one" });
    if (storage.close === undefined) return;
    await storage.close();
    await contract.expectFailure(() => storage.read("a"));
  },
  "close() - twice is once": async (contract) => {
    const storage = await contract.open();
    await Promise.all([storage.close?.(), storage.close?.()]);
    await storage.close?.();
  },
  "close() - every later call rejects": async (contract) => {
    const storage = await contract.open();
    const version = await contract.won(storage.write("a", 0, "one"));
    if (storage.close === undefined) return;
    await storage.close();
    await contract.expectFailure(() => storage.list());
    await contract.expectFailure(() => storage.read("a"));
    await contract.expectFailure(() => storage.write("a", version, CANARY));
    await contract.expectFailure(() => storage.write("b", 0, CANARY));
  },
};

/** What `reopen` lets the contract see. */
export const restartCases: ContractCases = {
  "reopen - what was acknowledged is there": async (contract) => {
    const storage = await contract.open();
    const version = await contract.won(storage.write("a", 0, "one"));
    const deleted = await contract.won(storage.write("b", 0, "gone"));
    const gone = await contract.won(storage.write("b", deleted, null));
    await storage.close?.();
    const other = await contract.reopen(storage);
    contract.expect([...(await other.list())]).toEqual([{ id: "a", version, data: "one" }]);
    contract.expect((await contract.won(other.write("a", version, "two"))) > version).toBe(true);
    contract.expect((await contract.won(other.write("b", 0, "again"))) > gone).toBe(true);
  },
  "reopen - what was acknowledged is there without a close() in between": async (contract) => {
    const storage = await contract.open();
    const version = await contract.won(storage.write("a", 0, "one"));
    const other = await contract.handleOn(storage);
    try {
      await other.open?.();
    } catch {
      if (!storage.shared) return; // it may lock out a second handle, and so be safe from it
    }
    contract.expect(await other.read("a")).toEqual({ id: "a", version, data: "one" });
  },
  "reopen - of two handles on one record exactly one wins": async (contract) => {
    const storage = await contract.open();
    if (!storage.shared) return;
    const other = await contract.reopen(storage);
    const handles = [storage, other];
    let version = 0;
    for (let round = 0; round < 10; round += 1) {
      const winners = await race(10, async (writer) => handles[writer % 2]?.write("a", version, `${round} ${writer}`));
      contract.expect(winners.length).toBe(1);
      version = winners[0]?.version ?? 0;
      contract.expect((await storage.read("a"))?.version).toBe(version);
      contract.expect(await other.read("a")).toEqual(await storage.read("a"));
    }
  },
  "watch() - tells of the other handle's writes until it is stopped": async (contract) => {
    const storage = await contract.open();
    if (!storage.shared || storage.watch === undefined) return;
    const other = await contract.reopen(storage);
    let isStopped = false;
    const heard = new Set<string>();
    const stop = storage.watch((id) => heard.add(isStopped ? `late ${id}` : id));
    await hears(contract, other, heard, "a");
    isStopped = true;
    stop();
    stop();
    await contract.won(other.write("b", 0, "one"));
    await new Promise((resolve) => setTimeout(resolve, 20));
    contract.expect([...heard]).toEqual(["a"]);
  },
  "watch() - once it listens, it misses no write": async (contract) => {
    const storage = await contract.open();
    if (!storage.shared || storage.watch === undefined) return;
    const other = await contract.reopen(storage);
    const heard = new Set<string>();
    let isListening = false;
    const stop = storage.watch(
      (id) => heard.add(isListening ? id : `early ${id}`),
      () => {},
      () => {
        isListening = true;
      },
    );
    let version = 0;
    // Not every watch says that it listens.
    await until(async () => {
      if (!isListening) version = await contract.won(other.write("a", version, "news"));
      return isListening || heard.size > 0;
    });
    if (isListening) {
      await contract.won(other.write("b", 0, "one"));
      await until(async () => heard.has("b"));
      contract.expect(heard.has("b")).toBe(true);
    }
    stop();
  },
};

/** Waits for a condition, at most as long as a watch may take. */
async function until(isMet: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + HEARD_WITHIN_MS;
  while (!(await isMet()) && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
}

/** Writes by the other handle until the watch has heard of it. */
async function hears(contract: Contract, other: SessionStorage, heard: ReadonlySet<string>, id: string): Promise<void> {
  let version = 0;
  await until(async () => {
    if (!heard.has(id)) version = await contract.won(other.write(id, version, "news"));
    return heard.has(id);
  });
  contract.expect(heard.has(id)).toBe(true);
}

/** What `interrupt` lets the contract see. */
export const interruptionCases: ContractCases = {
  "watch() - resumes after its connection was cut": async (contract) => {
    const storage = await contract.open();
    if (!storage.shared || storage.watch === undefined) return;
    const other = await contract.reopen(storage);
    const heard = new Set<string>();
    let listened = 0;
    const stop = storage.watch(
      (id) => heard.add(id),
      () => {},
      () => {
        listened += 1;
      },
    );
    await hears(contract, other, heard, "before");
    const before = listened;
    await contract.options.interrupt?.(storage);
    await hears(contract, other, heard, "after");
    contract.expect(listened > before).toBe(before > 0);
    stop();
  },
};

/** What `damage` lets the contract see. */
export const damageCases: ContractCases = {
  "list(), read() - a damaged entry stays known, and stops no other": async (contract) => {
    const storage = await contract.open();
    const ids = ["a", "b", "c"];
    for (const id of ids) await contract.won(storage.write(id, 0, `${CANARY} of ${id}`));
    await contract.options.damage?.(storage, "b");
    const listed = await storage.list();
    contract.expect(listed.map(({ id }) => id).sort()).toEqual(ids);
    for (const id of ["a", "c"]) contract.expect((await storage.read(id))?.data).toBe(`${CANARY} of ${id}`);
    const damaged = listed.find(({ id }) => id === "b");
    contract.expect(damaged?.data === `${CANARY} of b`).toBe(false);
    contract.expect(await storage.read("b")).toEqual(damaged);
    contract.expect(await storage.write("b", 0, "overwritten")).toBe(undefined);
    await contract.won(storage.write("b", damaged?.version ?? 0, null));
    contract.expect(await storage.read("b")).toBe(undefined);
    await contract.won(storage.write("b", 0, "again"));
  },
};

/** What `corrupt` lets the contract see. */
export const corruptionCases: ContractCases = {
  "open() or list() - damaged records are an error or are listed, never left out": async (contract) => {
    const storage = await contract.open();
    for (let index = 0; index < 50; index += 1) await contract.won(storage.write(`${index}`, 0, `${CANARY} ${index}`));
    await storage.close?.();
    await contract.options.corrupt?.(storage);
    const damaged = await contract.handleOn(storage);
    let listed = 0;
    const failure = await failureOf(async () => {
      await damaged.open?.();
      listed = (await damaged.list()).length;
    });
    contract.expect(failure instanceof Error || listed === 50).toBe(true);
    contract.expectNoCanary(failure);
  },
};

const ALICE: StoredPeer = {
  id: "1",
  accessHash: "-77",
  username: "alice",
  phone: "15550001",
  name: "Alice ' \" \\ 😀",
};
const GROUP: StoredPeer = { id: "-1001234567890123", accessHash: "9223372036854775807" };

/** Peers, where the storage keeps them. */
export const peerCases: ContractCases = {
  "peers - kept per session, the last saved last": async (contract) => {
    const { peers } = await contract.open();
    if (peers === undefined) return;
    contract.expect([...(await peers.load("a"))]).toEqual([]);
    await peers.save("a", [ALICE, GROUP]);
    await peers.save("a", []);
    await peers.save("b", [{ id: "1", accessHash: "5" }]);
    contract.expect([...(await peers.load("a"))]).toEqual([ALICE, GROUP]);
    await peers.save("a", [{ id: "1", accessHash: "8", name: "Alice" }]);
    contract.expect([...(await peers.load("a"))]).toEqual([GROUP, { id: "1", accessHash: "8", name: "Alice" }]);
    await peers.clear("a");
    contract.expect([...(await peers.load("a"))]).toEqual([]);
    contract.expect([...(await peers.load("b"))]).toEqual([{ id: "1", accessHash: "5" }]);
  },
  "peers - a batch keeps its order": async (contract) => {
    const { peers } = await contract.open();
    if (peers === undefined) return;
    const many = Array.from(
      { length: 500 },
      (_, index): StoredPeer => ({ id: `${1_000 - index}`, accessHash: `${index}` }),
    );
    await peers.save("a", many);
    await peers.save("a", many.slice(100, 200));
    contract
      .expect([...(await peers.load("a"))])
      .toEqual([...many.slice(0, 100), ...many.slice(200), ...many.slice(100, 200)]);
  },
  "peers - a name that no database likes stops no other": async (contract) => {
    const { peers } = await contract.open();
    if (peers === undefined) return;
    const names = ["plain", "nul \0", "half \uD800", "\u2028 'quoted' \\"];
    await peers.save(
      "a",
      names.map((name, index) => ({ id: `${index + 1}`, accessHash: "7", name })),
    );
    const kept = await peers.load("a");
    contract.expect(kept.map(({ id }) => id)).toEqual(["1", "2", "3", "4"]);
    contract.expect(kept[0]?.name).toBe("plain");
    contract.expect(kept[3]?.name).toBe("\u2028 'quoted' \\");
  },
};
