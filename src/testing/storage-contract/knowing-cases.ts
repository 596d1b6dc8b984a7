import type { PeerField, PeerStorage, SessionStorage, StoredPeer } from "../../storage/storage.js";
import { CANARY, type Contract, type ContractCases } from "./contract.js";

const MANY_SESSIONS = 300;
const AWKWARD_ID = `awkward ' " \\ {a} 😀`;
const peer = (id: string, username?: string): StoredPeer => ({
  id,
  accessHash: "7",
  ...(username === undefined ? {} : { username }),
});

/** Which sessions know a peer, where the storage can tell. */
export const knowingCases: ContractCases = {
  "peers.knowing() - the sessions that hold a peer, by its id and by its username, each once": (contract) =>
    withPeers(contract, async (peers, knowing) => {
      await peers.save("a", [peer("1", "alice"), peer("-1001234567890", "news")]);
      await peers.save("b", [peer("1", "alice"), peer("-100"), peer("2")]);
      await peers.save("c", [peer("11", "alicea")]);
      contract.expect(await knowing("id", "1")).toEqual(["a", "b"]);
      contract.expect(await knowing("id", "-1001234567890")).toEqual(["a"]);
      contract.expect(await knowing("id", "-100")).toEqual(["b"]);
      contract.expect(await knowing("username", "alice")).toEqual(["a", "b"]);
      contract.expect(await knowing("id", "2", "11", "3", "1")).toEqual(["a", "b", "c"]);
      contract.expect(await knowing("username", "news", "alicea")).toEqual(["a", "c"]);
    }),
  "peers.knowing() - of what nobody holds, of nothing, and of the other field: no session": (contract) =>
    withPeers(contract, async (peers, knowing) => {
      contract.expect(await knowing("id", "1")).toEqual([]);
      await peers.save("a", [peer("1", "alice")]);
      contract.expect(await knowing("id")).toEqual([]);
      contract.expect(await knowing("id", "2", "alice")).toEqual([]);
      contract.expect(await knowing("username", "1", "", "ALICE", "alice2", "%", "_lice")).toEqual([]);
    }),
  "peers.knowing() - follows what is saved and cleared afterwards": (contract) =>
    withPeers(contract, async (peers, knowing) => {
      await knowing("id", "1");
      await knowing("username", "alice");
      await peers.save("a", [peer("1", "alice"), peer("2", "bob")]);
      await peers.save("b", [peer("1", "alice")]);
      contract.expect(await knowing("username", "alice")).toEqual(["a", "b"]);
      await peers.save("a", [peer("1", "alice2")]);
      contract.expect(await knowing("username", "alice")).toEqual(["b"]);
      contract.expect(await knowing("username", "alice2")).toEqual(["a"]);
      contract.expect(await knowing("id", "1")).toEqual(["a", "b"]);
      await peers.save("a", [peer("1")]);
      contract.expect(await knowing("username", "alice2")).toEqual([]);
      await peers.clear("b");
      contract.expect(await knowing("username", "alice")).toEqual([]);
      contract.expect(await knowing("id", "1")).toEqual(["a"]);
      contract.expect(await knowing("username", "bob")).toEqual(["a"]);
      await peers.clear("a");
      await peers.clear("a");
      contract.expect(await knowing("id", "1", "2")).toEqual([]);
    }),
  "peers.knowing() - a username that moves to another peer of the session is not lost": (contract) =>
    withPeers(contract, async (peers, knowing) => {
      await knowing("username", "news");
      await peers.save("a", [peer("1", "news")]);
      await peers.save("a", [peer("2", "news")]);
      await peers.save("a", [peer("1")]);
      contract.expect(await knowing("username", "news")).toEqual(["a"]);
      await peers.save("a", [peer("2"), peer("3", "news")]);
      contract.expect(await knowing("username", "news")).toEqual(["a"]);
    }),
  "peers.knowing() - more sessions than a page, and awkward names": (contract) =>
    withPeers(contract, async (peers, knowing, storage) => {
      const ids = Array.from({ length: MANY_SESSIONS }, (_, index) => `session ${index}`);
      await createRecords(contract, storage, [...ids, AWKWARD_ID]);
      for (const id of ids) await peers.save(id, [peer("5", "durov"), peer(`1${id.length}`)]);
      const awkward = ["'; DROP TABLE a; --", "~Ab-_9", "\u2028", "😀", '"', "\\", "{a}"];
      await peers.save(AWKWARD_ID, [
        ...awkward.map((name, index) => peer(`9${index}`, name)),
        { ...peer("90000"), name: CANARY },
      ]);
      contract.expect((await knowing("username", "durov")).length).toBe(MANY_SESSIONS);
      contract.expect(new Set(await knowing("id", "5"))).toEqual(new Set(ids));
      for (const name of awkward) contract.expect(await knowing("username", name)).toEqual([AWKWARD_ID]);
    }),
};

/** What `reopen` lets the contract see. */
export const knowingRestartCases: ContractCases = {
  "peers.knowing() - another handle finds what was saved before it was first asked, and after": async (contract) => {
    const storage = await contract.open();
    if (storage.peers?.knowing === undefined) return;
    await createRecords(contract, storage, ["a", "b", "c"]);
    for (const id of ["a", "b"]) await storage.peers.save(id, [peer("1", "alice")]);
    const before = storage.shared ? storage : undefined;
    if (before === undefined) await storage.close?.();
    const other = await contract.reopen(storage);
    contract.expect(await sorted(other, "username", "alice")).toEqual(["a", "b"]);
    contract.expect(await sorted(other, "id", "1")).toEqual(["a", "b"]);
    if (before === undefined) return;
    await before.peers?.save("c", [peer("1", "alice")]);
    await before.peers?.clear("a");
    contract.expect(await sorted(other, "username", "alice")).toEqual(["b", "c"]);
    contract.expect(await sorted(before, "id", "1")).toEqual(["b", "c"]);
  },
};

type Knowing = (field: PeerField, ...values: readonly string[]) => Promise<readonly string[]>;

async function withPeers(
  contract: Contract,
  run: (peers: PeerStorage, knowing: Knowing, storage: SessionStorage) => Promise<void>,
): Promise<void> {
  const storage = await contract.open();
  if (storage.peers?.knowing === undefined) return;
  await createRecords(contract, storage, ["a", "b", "c"]);
  await run(storage.peers, (field, ...values) => sorted(storage, field, ...values), storage);
}

/** As the pool does before it saves a session's peers. */
async function createRecords(contract: Contract, storage: SessionStorage, ids: readonly string[]): Promise<void> {
  for (const id of ids) await contract.won(storage.write(id, 0, "data"));
}

async function sorted({ peers }: SessionStorage, field: PeerField, ...values: readonly string[]): Promise<string[]> {
  return [...((await peers?.knowing?.(field, values)) ?? [])].sort();
}
