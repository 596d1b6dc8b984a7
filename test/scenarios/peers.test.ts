import type { Api as ApiTypes, TelegramClient } from "telegram";
import { describe, expect, test } from "vitest";
import { sqlite } from "../../adapters/storage/sqlite.js";
import { memory, type PeerStorage, type SessionStorage, type StoredPeer } from "../../src/index.js";
import { FaultyPeers } from "../fakes/faulty-peers.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { Api, callsOf, message, nameOf, stage, textsOf, until, within } from "./support.js";

const RESOLVE = "contacts.ResolveUsername";
const LONG_AGO = ["user1", "channel1", "a_proper_name"];

/** What the file holds about a session's peers, looked at from outside. */
async function storedIn(file: string, id: string): Promise<readonly StoredPeer[]> {
  const storage = sqlite(file);
  await storage.open?.();
  try {
    return (await storage.peers?.load(id)) ?? [];
  } finally {
    await storage.close?.();
  }
}

const hashOf = (peer: ApiTypes.TypeInputPeer): string =>
  "accessHash" in peer ? String(peer.accessHash) : String(peer.className);

async function hashes(client: TelegramClient, keys: readonly (string | number | bigint)[]): Promise<string[]> {
  const found: string[] = [];
  for (const key of keys) found.push(hashOf(await client.getInputEntity(key as string)));
  return found;
}

describe("a restart", () => {
  test("known peers - are found by id and username, without a request", async () => {
    const { server, file, open } = await stage();
    const first = await open();
    const before = await first.use((client) => hashes(client, LONG_AGO));
    const ids = await first.use(async (client) => {
      const user = await client.getInputEntity("user1");
      return user instanceof Api.InputPeerUser ? [Number(user.userId), -1001000000001] : [];
    });
    await first.close();
    expect(callsOf(server, RESOLVE)).toHaveLength(LONG_AGO.length);
    expect((await storedIn(file, "account1")).map(({ username }) => username)).toEqual(
      expect.arrayContaining(LONG_AGO),
    );

    const second = await open();
    await second.use(nameOf);
    const calls = server.calls().length;
    expect(await second.use((client) => hashes(client, LONG_AGO))).toEqual(before);
    expect(await second.use((client) => hashes(client, ids))).toEqual(before.slice(0, 2));
    expect(server.calls()).toHaveLength(calls);
    for (const peer of LONG_AGO) await second.invoke(message(`to ${peer}`, peer));
    expect(textsOf(server)).toEqual(LONG_AGO.map((peer) => `to ${peer}`));
    expect(callsOf(server, RESOLVE)).toHaveLength(LONG_AGO.length);
  });

  test("another account - sends its own request", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const first = await open();
    await first.use((client) => hashes(client, ["user1"]), { id: "account1" });
    await first.close();
    const second = await open();
    await second.invoke(message("hello"), { id: "account2" });
    expect(callsOf(server, RESOLVE, "account2")).toHaveLength(1);
  });
});

test("an idle client that was closed - its successor knows the same peers, written or not", async () => {
  const { server, open } = await stage();
  const pool = await open({ idleTimeoutMs: 30 });
  for (let round = 0; round < 3; round++) {
    await pool.use((client) => hashes(client, ["user1"]));
    await until("it is closed", () => server.connections().every(({ closedAt }) => closedAt !== null));
  }
  expect(callsOf(server, RESOLVE)).toHaveLength(1);
});

describe("what is stored", () => {
  test("remove() - deletes the session's peers and no other's", async () => {
    const { file, open } = await stage({ accounts: 2 });
    const pool = await open();
    for (const id of ["account1", "account2"]) await pool.use((client) => hashes(client, ["user1"]), { id });
    await pool.remove("account1");
    await pool.close();
    expect((await storedIn(file, "account1")).length).toBe(0);
    expect((await storedIn(file, "account2")).length).toBeGreaterThan(0);
  });

  test("update({ session }) - with another key, the former account's peers are not used", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const first = await open({ add: ["account1"] });
    await first.invoke(message("as the first"));
    await first.update("account1", { session: server.sessions[1] ?? "" });
    await first.invoke(message("as the second"));
    await first.close();
    const second = await open({ add: [] });
    await second.invoke(message("again"));
    expect(textsOf(server)).toEqual(["as the first", "as the second", "again"]);
    expect(callsOf(server, RESOLVE).map(({ account }) => account)).toEqual(["account1", "account2"]);
  });
});

test("add() - of a new session under an id with old peers: they are not used", async () => {
  const { server, file, open } = await stage();
  const storage = sqlite(file);
  await storage.open?.();
  await storage.peers?.save("account1", [{ id: "100000001", accessHash: "666", username: "user1" }]);
  await storage.close?.();
  const pool = await open();
  await pool.invoke(message("hello"));
  expect(textsOf(server)).toEqual(["hello"]);
});

describe("a storage of peers that fails or hangs", () => {
  const storageWith = (peers: PeerStorage): SessionStorage => {
    const inner = new FaultyStorage();
    return Object.assign(inner, { peers });
  };

  test.each(["fails", "hangs"] as const)("%s - sessions connect, work, are removed and close in time", async (fate) => {
    const { open, toldOf, server } = await stage({ accounts: 2 });
    const peers = new FaultyPeers();
    peers.fateOfLoad = () => fate;
    peers.fateOfSave = () => fate;
    peers.fateOfClear = () => fate;
    const pool = await open({ storage: storageWith(peers), storageTimeoutMs: 300, connectTimeoutMs: 500 });
    for (const text of ["one", "two", "three"]) await within(2_000, pool.invoke(message(text)));
    expect(await within(2_000, pool.remove("account1"))).toBe(true);
    await within(3_000, pool.close());
    expect(textsOf(server)).toEqual(["one", "two", "three"]);
    expect(toldOf("storageFailed").length).toBeLessThanOrEqual(2);
    expect(toldOf("cooled")).toEqual([]);
  });

  test("slower than connectTimeoutMs - does not fail the connect", async () => {
    const { open } = await stage();
    const peers = new FaultyPeers();
    peers.fateOfLoad = () => "hangs";
    const pool = await open({ storage: storageWith(peers), storageTimeoutMs: 60_000, connectTimeoutMs: 400 });
    expect(await within(1_000, pool.use(nameOf))).toBe("account1");
    peers.heal();
  });
});

test("addMany() - peers that another program knew are found by username and id, without a request", async () => {
  const { server, file, open } = await stage();
  const first = await open();
  const before = await first.use((client) => hashes(client, LONG_AGO));
  await first.close();
  const peers = await storedIn(file, "account1");
  const asked = callsOf(server, RESOLVE).length;
  const [session = ""] = server.sessions;

  const second = await open({ storage: memory(), add: [] });
  const { added } = await second.addMany([{ id: "imported", session, peers }]);
  expect(added).toEqual([{ index: 0, id: "imported" }]);
  const names = LONG_AGO.map((name) => `@${name}`);
  expect(await second.use((client) => hashes(client, names))).toEqual(before);
  expect(callsOf(server, RESOLVE)).toHaveLength(asked);
});
