import { describe, expect, test } from "vitest";
import {
  AcquireTimeoutError,
  ConnectError,
  NoSessionAvailableError,
  OptionsError,
  PoolClosedError,
  StorageError,
} from "../../src/errors.js";
import type { AcquireOptions, UseOptions } from "../../src/options/options.js";
import type { StoredPeer } from "../../src/storage/storage.js";
import { type FakeClient, READ } from "../fakes/fake-telegram.js";
import { FaultyPeers } from "../fakes/faulty-peers.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { deferred, openPool, type TestPool, type TestPoolOptions, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { flood } from "../fakes/telegram-errors.js";
import { settled } from "../fakes/virtual-clock.js";

const NEWS: StoredPeer = { id: "-1001234567890", accessHash: "7", username: "news" };
const CHANNEL = "channel:1234567890";
const TTL_MS = 60_000;

interface Stage extends TestPool {
  readonly peers: FaultyPeers;
  /** Acquires, and watches what comes of it. */
  acquire(options: AcquireOptions): ReturnType<typeof watch<{ readonly id: string; release(): void }>>;
  /** The client of a session learns of a peer. */
  learn(id: string, peer?: StoredPeer): void;
}

/** A pool whose `holders` have {@link NEWS} in the storage. */
async function stage(
  sessions: readonly string[],
  holders: readonly string[] = [],
  { withPeers = true, ...options }: TestPoolOptions & { readonly withPeers?: boolean } = {},
): Promise<Stage> {
  const peers = new FaultyPeers();
  const storage = new FaultyStorage();
  const pool = await openPool({
    sessions,
    storage: withPeers ? Object.assign(storage, { peers }) : storage,
    ownership: { ttlMs: TTL_MS },
    ...options,
  });
  await settled();
  for (const id of holders) await peers.put(id, [NEWS]);
  return {
    ...pool,
    peers,
    acquire: (wanted) => watch(pool.pool.acquire(wanted)),
    learn: (id, peer = NEWS) => pool.telegram.handle(id).request.peers.save(peer),
  };
}

/** Connects a session and gives it back. */
async function connect({ pool }: TestPool, id: string): Promise<void> {
  (await pool.acquire({ id })).release();
}

describe("acquire({ knows }) - forms", () => {
  test.each([
    ...["", "@", "news", "@a b", "@ä", `@${"a".repeat(33)}`, "+15550001", "user:", "user:0", "user:-5", "user:self"],
    ...["-1001234567890", "https://t.me/news", 5, null, {}],
  ])("%j is an OptionsError", async (knows) => {
    const { pool } = await stage(["a"]);
    const options = { knows: knows as string };
    const sentence = /knows must be "@name", "user:<id>", "chat:<id>" or "channel:<id>"; got /;
    await expect(pool.acquire(options)).rejects.toThrow(sentence);
    await expect(pool.use(() => 1, options)).rejects.toBeInstanceOf(OptionsError);
    expect(() => pool.iterate(async function* () {}, options)).toThrow(OptionsError);
    expect(() => pool.map([1], () => 1, options)).toThrow(OptionsError);
  });

  test("resolve without knows - is an OptionsError", async () => {
    const { pool } = await stage(["a"]);
    const options = { resolve: true };
    await expect(pool.acquire(options)).rejects.toThrow("acquire: resolve is for knows, which names the peer");
    await expect(pool.use(() => 1, options)).rejects.toThrow("use: resolve is for knows");
    expect(() => pool.map([1], () => 1, options)).toThrow("map: resolve is for knows");
    await expect(pool.acquire({ knows: "@news", resolve: 1 as never })).rejects.toThrow(
      "resolve must be true or false; got 1",
    );
    await pool.acquire({ resolve: false });
  });

  test.each(["@news", "@NEWS", CHANNEL])(
    "%s - only sessions that hold it, least recently used first",
    async (knows) => {
      const { pool } = await stage(["a", "b", "c", "d"], ["d", "b"]);
      const ids: string[] = [];
      for (let turn = 0; turn < 4; turn++) {
        const lease = await pool.acquire({ knows });
        ids.push(lease.id);
        lease.release();
      }
      expect(ids).toEqual(["b", "d", "b", "d"]);
    },
  );

  test("with id, key and tags - all of them hold", async () => {
    const { pool } = await stage(["a", "b", "c"], ["b", "c"]);
    await pool.update("c", { tags: ["eu"] });
    using lease = await pool.acquire({ knows: "@news", tags: ["eu"], wait: false });
    expect(lease.id).toBe("c");
    await expect(pool.acquire({ knows: "@news", id: "a" })).rejects.toBeInstanceOf(NoSessionAvailableError);
    lease.release();
    const ids = new Set<string>();
    for (const key of ["1", "2", "3", "4", "5", "6", "7", "8"]) {
      using sticky = await pool.acquire({ knows: "@news", key });
      ids.add(sticky.id);
    }
    expect(ids).toEqual(new Set(["b", "c"]));
  });

  test("use(), invoke(), iterate() and map() - take it, map() for each item too", async () => {
    const { pool, peers } = await stage(["a", "b"], ["b"]);
    await peers.put("a", [{ id: "5", accessHash: "1", username: "bob" }]);
    const options: UseOptions = { knows: "@news" };
    expect(await pool.use((_, lease) => lease.id, options)).toBe("b");
    expect(await pool.invoke({ className: READ }, options)).toBe(`${READ} by b`);
    const iterated = pool.iterate(async function* (_, lease) {
      yield lease.id;
    }, options);
    expect((await iterated.next()).value).toBe("b");
    await iterated.return();
    const results: unknown[] = [];
    const work = (_: FakeClient, __: string, { id }: { readonly id: string }): string => id;
    const run = pool.map(["@news", "user:5", "@nobody"], work, { knows: (item) => item, concurrency: 1 });
    for await (const result of run) results.push(result.ok ? result.value : (result.error as Error).message);
    expect(results).toEqual(["b", "a", "No session is available that knows @nobody (none does): 2 free, 2 in all."]);
  });
});

test("map() - with account, as use() takes it", async () => {
  const { pool } = await stage(["a"]);
  for await (const { ok } of pool.map([1], () => 1, { account: "5" })) expect(ok).toBe(false);
});

describe("acquire({ knows }) - when no session knows the peer", () => {
  test("rejects at once, with the peer in its message", async () => {
    const { acquire } = await stage(["a"]);
    for (const wait of [true, 1_000, false]) {
      const waiting = acquire({ knows: CHANNEL, wait });
      await settled();
      expect(waiting.error).toBeInstanceOf(NoSessionAvailableError);
      expect((waiting.error as Error).message).toContain(`that knows ${CHANNEL} (none does)`);
    }
  });

  test("resolve - any session serves", async () => {
    const { pool } = await stage(["a"]);
    expect((await pool.acquire({ knows: "@news", resolve: true })).id).toBe("a");
  });
});

describe("acquire({ knows }) - what is known", () => {
  test("learned and not written yet - counts, also when the client is closed", async () => {
    const test = await stage(["a", "b"]);
    await connect(test, "b");
    test.learn("b");
    expect(test.peers.saves).toEqual([]);
    test.telegram.handle("b").drop();
    expect((await test.pool.acquire({ knows: "@news", wait: false })).id).toBe("b");
  });

  test("written while the storage is asked - is not missed", async () => {
    const test = await stage(["a", "b"]);
    await connect(test, "b");
    test.learn("b");
    const gate = deferred();
    test.peers.fateOfKnowing = () => gate.promise;
    const waiting = test.acquire({ knows: "@news" });
    await test.clock.advance(3_000);
    expect(test.peers.saves).toHaveLength(1);
    gate.resolve();
    await settled();
    expect(waiting.value?.id).toBe("b");
  });

  test("a client that has it no longer - is passed over, whatever is stored", async () => {
    const test = await stage(["a", "b"], ["a", "b"]);
    await connect(test, "a");
    test.telegram.onKnows = (id) => id === "b";
    for (let turn = 0; turn < 3; turn++) {
      const lease = await test.pool.acquire({ knows: "@news" });
      expect(lease.id).toBe("b");
      lease.release();
    }
    test.telegram.onKnows = () => false;
    await expect(test.pool.acquire({ knows: "@news" })).rejects.toThrow("(none does)");
    expect(test.pool.status()).toMatchObject({ free: 2, leased: 0 });
  });

  test("a client that turns out not to have it when it connects - is given back, and another one serves", async () => {
    const test = await stage(["a", "b"], ["a", "b"]);
    test.telegram.onKnows = (id) => id === "b";
    expect((await test.pool.acquire({ knows: "@news" })).id).toBe("b");
    expect(test.pool.status()).toMatchObject({ free: 1, leased: 1 });
    expect(test.telegram.connects.map(({ id }) => id)).toEqual(["a", "b"]);
  });

  test("a client that turns out not to have it - every caller that waits for it rejects at once", async () => {
    const test = await stage(["a", "b"], ["b"], { idleTimeoutMs: 1_000 });
    const lease = await test.pool.acquire({ id: "b" });
    lease.coolDown(10);
    lease.release();
    // Its client is closed: only the storage says that it has the peer.
    await test.clock.advance(1_500);
    const waiting = [test.acquire({ knows: "@news" }), test.acquire({ knows: "@news", wait: 600_000 })];
    await settled();
    test.telegram.onKnows = () => false;
    await test.clock.advance(8_500);
    await settled();
    for (const { error } of waiting) expect(error).toBeInstanceOf(NoSessionAvailableError);
    expect(test.pool.status()).toMatchObject({ free: 2, waiters: 0 });
  });

  test("a removed session, and one with another key - know it no longer", async () => {
    const test = await stage(["a", "b"], ["a"]);
    await test.pool.remove("a");
    await expect(test.pool.acquire({ knows: "@news" })).rejects.toBeInstanceOf(NoSessionAvailableError);
  });

  test("without peers in the storage - open clients alone", async () => {
    const test = await stage(["a", "b"], [], { withPeers: false });
    await connect(test, "b");
    await expect(test.pool.acquire({ knows: "@news" })).rejects.toBeInstanceOf(NoSessionAvailableError);
    test.telegram.onKnows = (id) => id === "b";
    expect((await test.pool.acquire({ knows: "@news" })).id).toBe("b");
  });

  test("of many callers at once - the storage is asked once; later again", async () => {
    const { pool, peers, clock } = await stage(["a", "b"], ["a", "b"]);
    const use = () => pool.use(() => 1, { knows: "@news" });
    await Promise.all(Array.from({ length: 100 }, use));
    expect(peers.lookUps).toEqual(["username news"]);
    await clock.advance(2_000);
    await use();
    await use();
    expect(peers.lookUps).toHaveLength(3);
  });
});

describe("acquire({ knows }) - a peer that many sessions know", () => {
  const ids = Array.from({ length: 120 }, (_, index) => `s${index}`);
  const use = ({ pool }: Stage, options: AcquireOptions = { knows: "@news" }) => pool.use((_, { id }) => id, options);

  test("callers one after another - share an answer for a second", async () => {
    const test = await stage(ids, ids);
    for (let times = 0; times < 5; times++) await use(test);
    expect(test.peers.lookUps).toEqual(["username news"]);
    await test.clock.advance(1_000);
    await use(test);
    expect(test.peers.lookUps).toHaveLength(2);
  });

  test("learned and removed within that second - counts", async () => {
    const test = await stage([...ids, "late"], ids);
    await connect(test, "late");
    await use(test);
    test.learn("late");
    expect(await use(test, { knows: "@news", id: "late" })).toBe("late");
    await test.pool.remove("s7");
    await test.pool.add("s7", sessionString("another key"));
    await expect(use(test, { knows: "@news", id: "s7", wait: false })).rejects.toBeInstanceOf(NoSessionAvailableError);
    expect(test.peers.lookUps).toEqual(["username news"]);
  });

  test("the storage fails later - what it answered long ago does not count", async () => {
    const test = await stage(ids, ids);
    await use(test);
    await test.clock.advance(5_000);
    test.peers.fateOfKnowing = () => "fails";
    for (const id of ids) await test.peers.clear(id);
    await expect(use(test, { knows: CHANNEL })).rejects.toBeInstanceOf(StorageError);
    await expect(use(test)).rejects.toBeInstanceOf(StorageError);
  });
});

describe("acquire({ knows }) - waiting", () => {
  test("a caller that comes while the storage is asked once more - gets the new answer", async () => {
    const test = await stage(["a", "b", "c", "d"], ["a"]);
    await test.pool.acquire({ id: "a" });
    const waiting = [test.acquire({ knows: "@news" })];
    await settled();
    await test.clock.advance(5_000);
    for (const id of ["b", "c", "d"]) await test.peers.put(id, [NEWS]);
    for (let times = 0; times < 2; times++) waiting.push(test.acquire({ knows: "@news", wait: false }));
    await settled();
    expect(waiting.map(({ value }) => value?.id).sort()).toEqual(["b", "c", "d"]);
  });

  test("a session that learns the peer meanwhile - serves at once", async () => {
    const test = await stage(["a", "b"], ["a"]);
    await connect(test, "b");
    const held = await test.pool.acquire({ id: "a" });
    const waiting = [test.acquire({ knows: "@news" }), test.acquire({ knows: CHANNEL })];
    await settled();
    expect(waiting.map(({ state }) => state)).toEqual(["pending", "pending"]);
    test.learn("b");
    await settled();
    expect(waiting[0]?.value?.id).toBe("b");
    held.release();
    await settled();
    expect(waiting[1]?.value?.id).toBe("a");
  });

  test("what another process writes - serves at the next look", async () => {
    const test = await stage(["a", "b"], ["a"]);
    await test.pool.acquire({ id: "a" });
    const waiting = test.acquire({ knows: "@news" });
    await settled();
    await test.peers.put("b", [NEWS]);
    await test.clock.advance(TTL_MS / 3 - 1);
    expect(waiting.state).toBe("pending");
    await test.clock.advance(1);
    expect(waiting.value?.id).toBe("b");
  });

  test("when the only session that knows it is removed or dies - rejects", async () => {
    const test = await stage(["a", "b", "c"], ["a", "b"]);
    const leases = await Promise.all(["a", "b"].map((id) => test.pool.acquire({ id })));
    const waiting = test.acquire({ knows: "@news" });
    await settled();
    leases[0]?.retire("gone");
    await settled();
    expect(waiting.state).toBe("pending");
    leases[1]?.retire("gone");
    await settled();
    expect(waiting.error).toBeInstanceOf(NoSessionAvailableError);
  });

  test("wait - bounds the time for which the storage is asked", async () => {
    const test = await stage(["a"], ["a"]);
    test.peers.fateOfKnowing = () => "hangs";
    const waiting = test.acquire({ knows: "@news", wait: 1_000 });
    await test.clock.advance(999);
    expect(waiting.state).toBe("pending");
    await test.clock.advance(1);
    expect(waiting.error).toBeInstanceOf(AcquireTimeoutError);
    expect(waiting.error).toMatchObject({
      message: "The storage did not answer within 1000 ms (wait) which sessions know @news.",
    });
    expect(test.pool.status().waiters).toBe(0);
  });

  test("signal - ends it while the storage is asked", async () => {
    const test = await stage(["a"], ["a"]);
    test.peers.fateOfKnowing = () => "hangs";
    const controller = new AbortController();
    const waiting = test.acquire({ knows: "@news", signal: controller.signal });
    await settled();
    controller.abort(new Error("enough"));
    await settled();
    expect(waiting.error).toEqual(new Error("enough"));
    expect(test.acquire({ knows: "@news", signal: controller.signal }).state).toBe("pending");
  });

  test("close() - ends it while the storage is asked, and leaves no timer", async () => {
    const test = await stage(["a"], ["a"]);
    test.peers.fateOfKnowing = () => "hangs";
    const waiting = test.acquire({ knows: "@news" });
    await settled();
    await test.pool.close();
    expect(waiting.error).toBeInstanceOf(PoolClosedError);
    await test.clock.advance(60_000);
    expect(test.clock.pending).toBe(0);
  });

  test("an idle pool - has no timer for it", async () => {
    const test = await stage(["a"], ["a"], { idleTimeoutMs: Number.POSITIVE_INFINITY });
    await connect(test, "a");
    await test.clock.advance(10_000);
    const before = test.clock.pending;
    (await test.pool.acquire({ knows: "@news" })).release();
    expect(test.clock.pending).toBe(before);
  });
});

describe("acquire({ knows, resolve })", () => {
  const options: AcquireOptions = { knows: "@news", resolve: true };

  test("a session that knows it and is free - serves", async () => {
    const { pool } = await stage(["a", "b"], ["b"]);
    expect((await pool.acquire(options)).id).toBe("b");
  });

  test("the only one that knows it is leased - is waited for, but not without wait", async () => {
    const test = await stage(["a", "b"], ["b"]);
    const held = await test.pool.acquire({ id: "b" });
    const waiting = test.acquire(options);
    await settled();
    expect(waiting.state).toBe("pending");
    expect((await test.pool.acquire({ ...options, wait: false })).id).toBe("a");
    held.release();
    await settled();
    expect(waiting.value?.id).toBe("b");
  });

  test("the only one that knows it cools for longer than wait - another serves at once", async () => {
    const test = await stage(["a", "b"], ["b"]);
    const held = await test.pool.acquire({ id: "b" });
    held.coolDown(60);
    held.release();
    const waiting = test.acquire(options);
    expect((await test.pool.acquire({ ...options, wait: 59_000 })).id).toBe("a");
    expect(waiting.state).toBe("pending");
    await test.clock.advance(60_000);
    expect(waiting.value?.id).toBe("b");
  });

  test("the only one that knows it dies while it is waited for - another serves", async () => {
    const test = await stage(["a", "b"], ["b"]);
    const held = await test.pool.acquire({ id: "b" });
    const waiting = test.acquire(options);
    await settled();
    held.retire("gone");
    await settled();
    expect(waiting.value?.id).toBe("a");
  });

  test("the only one that knows it cannot connect - another serves; without resolve, its error", async () => {
    const test = await stage(["a", "b"], ["b"]);
    test.telegram.onConnect = (id) => {
      if (id === "b") throw new Error("refused");
    };
    expect((await test.pool.acquire(options)).id).toBe("a");
    await test.clock.advance(10_000);
    await expect(test.pool.acquire({ knows: "@news" })).rejects.toBeInstanceOf(ConnectError);
    await expect(test.pool.acquire({ ...options, id: "b", wait: false })).rejects.toBeInstanceOf(Error);
  });

  test("use() - rotates among those that know it, then to the others", async () => {
    const test = await stage(["a", "b", "c"], ["b", "c"]);
    test.telegram.onCall = ({ id }) => {
      if (id !== "a") throw flood(600);
      return id;
    };
    const tried: string[] = [];
    const work = (client: FakeClient, { id }: { readonly id: string }): Promise<unknown> => {
      tried.push(id);
      return client.call(READ);
    };
    expect(await test.pool.use(work, { ...options, wait: 10_000 })).toBe("a");
    expect(tried).toEqual(["b", "c", "a"]);
  });

  test("maxAttempts - counts the sessions that know it", async () => {
    const test = await stage(["a", "b"], ["b"]);
    test.telegram.onConnect = (id) => {
      if (id === "b") throw new Error("refused");
    };
    await expect(test.pool.use(() => 1, { ...options, maxAttempts: 1 })).rejects.toBeInstanceOf(ConnectError);
  });
});

describe("a storage that fails", () => {
  test.each(["fails", "hangs"] as const)("%s - a StorageError within storageTimeoutMs, reported once", async (fate) => {
    const test = await stage(["a"], ["a"], { storageTimeoutMs: 2_000 });
    test.peers.fateOfKnowing = () => fate;
    for (let turn = 0; turn < 2; turn++) {
      const waiting = test.acquire({ knows: "@news" });
      await test.clock.advance(2_000);
      expect(waiting.error).toBeInstanceOf(StorageError);
      expect((waiting.error as Error).message).toContain("The storage could not find the sessions that know a peer");
    }
    expect(test.events("storageFailed")).toHaveLength(1);
    test.peers.heal();
    expect((await test.pool.acquire({ knows: "@news" })).id).toBe("a");
  });

  test("fails - a session of this process that knows it serves all the same", async () => {
    const test = await stage(["a", "b"], ["a"]);
    await connect(test, "b");
    test.learn("b");
    test.peers.fateOfKnowing = () => "fails";
    expect((await test.pool.acquire({ knows: "@news" })).id).toBe("b");
  });

  test("fails, with resolve - any session serves", async () => {
    const test = await stage(["a"], ["a"]);
    test.peers.fateOfKnowing = () => "fails";
    expect((await test.pool.acquire({ knows: "@news", resolve: true })).id).toBe("a");
  });

  test("fails while a caller waits - the caller keeps waiting for those that were known", async () => {
    const test = await stage(["a"], ["a"]);
    const held = await test.pool.acquire({ id: "a" });
    const waiting = test.acquire({ knows: "@news" });
    await settled();
    test.peers.fateOfKnowing = () => "fails";
    await test.clock.advance(TTL_MS);
    expect(waiting.state).toBe("pending");
    held.release();
    await settled();
    expect(waiting.value?.id).toBe("a");
  });

  test("resolves something else - a StorageError", async () => {
    const test = await stage(["a"], ["a"]);
    test.peers.knowing = async () => [5] as never;
    await expect(test.pool.acquire({ knows: "@news" })).rejects.toThrow("peers.knowing() must resolve to an array");
  });
});

test("with a Sealer that has no blindIndexes() - a username is an OptionsError, also with resolve; an id is found", async () => {
  const encryption = {
    seal: (_: string, text: string) => `!${text}`,
    open: (_: string, sealed: string) => sealed.slice(1),
  };
  const test = await stage(["a"], ["a"], { encryption });
  for (const resolve of [false, true]) {
    await expect(test.pool.acquire({ knows: "@news", resolve })).rejects.toBeInstanceOf(OptionsError);
  }
  expect((await test.pool.acquire({ knows: CHANNEL })).id).toBe("a");
  expect(test.events("storageFailed")).toEqual([]);
});
