import type { StoredPeer } from "../../records/storage.js";
import { race } from "./cases.js";
import { CANARY, type ContractCases, failureOf } from "./contract.js";

/** Opening and closing. */
export const lifeCases: ContractCases = {
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
    let version = 0;
    for (let attempt = 0; attempt < 200 && !heard.has("a"); attempt += 1) {
      version = await contract.won(other.write("a", version, `${attempt}`));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    contract.expect(heard.has("a")).toBe(true);
    isStopped = true;
    stop();
    stop();
    await contract.won(other.write("b", 0, "one"));
    await new Promise((resolve) => setTimeout(resolve, 20));
    contract.expect([...heard]).toEqual(["a"]);
  },
};

/** What `corrupt` lets the contract see. */
export const corruptionCases: ContractCases = {
  "open() or list() - damaged records are an error, never an empty list": async (contract) => {
    const storage = await contract.open();
    for (let index = 0; index < 50; index += 1) await contract.won(storage.write(`${index}`, 0, `${CANARY} ${index}`));
    await storage.close?.();
    await contract.options.corrupt?.(storage);
    const damaged = await contract.handleOn(storage);
    const failure = await failureOf(async () => {
      await damaged.open?.();
      await damaged.list();
    });
    contract.expect(failure instanceof Error).toBe(true);
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
};
