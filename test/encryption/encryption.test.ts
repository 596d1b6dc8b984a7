import { randomBytes } from "node:crypto";
import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { aesGcm, type Sealer } from "../../src/encryption/sealer.js";
import { OptionsError, PoolClosedError, StorageCorruptError, StorageError } from "../../src/errors.js";
import { memory } from "../../src/storage/memory.js";
import type { RecordWrite, SessionStorage } from "../../src/storage/storage.js";
import { READ } from "../fakes/fake-telegram.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { deferred, openPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { VirtualClock } from "../fakes/virtual-clock.js";

const [OLD, NEW] = [randomBytes(32), randomBytes(32)];
const PROFILE = {
  apiId: 5,
  apiHash: "hash-that-nobody-sees",
  proxy: { ip: "10.0.0.1", port: 1, socksType: 5 as const },
};

/** Everything that is stored, as one text. */
async function allOf(storage: SessionStorage): Promise<string> {
  return JSON.stringify(await storage.list());
}

/** A sealer as somebody may write it over a key service: it takes its time, and its texts have no header of ours. */
function slowSealer(): Sealer & { most: number } {
  let running = 0;
  const later = async <T>(work: () => T): Promise<T> => {
    sealer.most = Math.max(sealer.most, ++running);
    await new Promise((resolve) => setImmediate(resolve));
    running--;
    return work();
  };
  const sealer = {
    most: 0,
    seal: (id: string, text: string) => later(() => `${id}|${Buffer.from(text).toString("hex")}`),
    open: (id: string, sealed: string) =>
      later(() => {
        const [sealedFor, text = ""] = sealed.split("|");
        if (sealedFor !== id) throw new Error("it was sealed for another place");
        return Buffer.from(text, "hex").toString();
      }),
  };
  return sealer;
}

describe("encryption", () => {
  test("stores nothing of a session or its profile readably; all is there after a restart", async () => {
    const storage = new FaultyStorage();
    const first = await openPool({ storage, encryption: aesGcm(NEW) });
    await first.pool.add("a", sessionString("a"), { profile: PROFILE, tags: ["x"] });
    await first.pool.use((client) => client.call(READ));
    const stored = await allOf(storage);
    expect(stored).not.toContain(sessionString("a").slice(40, 80));
    expect(stored).not.toContain(PROFILE.apiHash);
    expect(stored).not.toContain(PROFILE.proxy.ip);
    await first.pool.close();
    const { pool, telegram } = await openPool({ storage, encryption: aesGcm([NEW, OLD]) });
    expect(await pool.exportSession("a")).toBe(sessionString("a"));
    await pool.use((client) => client.call(READ));
    expect(telegram.handle("a").request.profile).toEqual(PROFILE);
    await expect(pool.add("a", sessionString("a"))).resolves.toMatchObject({ tags: ["x"] });
  });

  test("seals an update, too", async () => {
    const { pool, storage } = await openPool({ encryption: aesGcm(NEW), sessions: ["a"] });
    await pool.update("a", { session: sessionString("b"), profile: PROFILE });
    expect(await allOf(storage)).not.toContain(PROFILE.apiHash);
    const again = await openPool({ storage, encryption: aesGcm(NEW) });
    expect({ session: await again.pool.exportSession("a"), rejected: again.pool.rejected() }).toEqual({
      session: sessionString("b"),
      rejected: [],
    });
  });

  test("with a slow sealer, works for every call, and does not open all records at once", async () => {
    const [storage, clock, encryption] = [new FaultyStorage(), new VirtualClock(), slowSealer()];
    const one = await openPool({ storage, clock, encryption });
    const ids = Array.from({ length: 100 }, (_, index) => `s${index}`);
    for (const id of ids) await one.pool.add(id, sessionString(id), { profile: PROFILE });
    const sealer = slowSealer();
    const two = await openPool({ storage: new FaultyStorage(storage), clock, encryption: sealer });
    expect({ ids: two.pool.sessions().map(({ id }) => id), rejected: two.pool.rejected() }).toEqual({
      ids,
      rejected: [],
    });
    expect(sealer.most).toBe(32);
    await one.pool.update("s5", { session: sessionString("other"), tags: ["x"] });
    await clock.advance(20_000);
    expect({ session: await two.pool.exportSession("s5"), tags: two.pool.get("s5")?.tags }).toEqual({
      session: sessionString("other"),
      tags: ["x"],
    });
    await one.pool.add("new", sessionString("new"));
    await clock.advance(20_000);
    expect(await two.pool.exportSession("new")).toBe(sessionString("new"));
  });

  test("when the sealer fails, add() rejects, repeats nothing of the session and stores nothing", async () => {
    const encryption: Sealer = {
      seal: (_, text) => {
        throw Object.assign(new Error(`the key service is down: ${text}`), { request: text });
      },
      open: (_, text) => text,
    };
    const { pool, storage } = await openPool({ encryption });
    const error = await pool.add("a", sessionString("a")).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(StorageError);
    expect(error).toMatchObject({ sessionId: "a", message: expect.stringContaining("the key service is down") });
    expect(inspect(error, { depth: 9 })).not.toContain(sessionString("a"));
    expect({ records: await storage.list(), sessions: pool.sessions() }).toEqual({ records: [], sessions: [] });
  });
});

describe("a sealer that returns no text", () => {
  test.each([[undefined], [null], [""], [7], [Buffer.from("x")]])(
    "when seal() returns %j, add() rejects with StorageError and stores nothing",
    async (given) => {
      const encryption: Sealer = { seal: () => given as string, open: (_, text) => text };
      const { pool, storage } = await openPool({ encryption });
      const error = await pool.add("a", sessionString("a")).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(StorageError);
      expect(error).toMatchObject({ message: expect.stringContaining("must return a non-empty text") });
      expect({ records: await storage.list(), sessions: pool.sessions() }).toEqual({ records: [], sessions: [] });
    },
  );
});

describe("records that cannot be opened", () => {
  const sealed = async (): Promise<FaultyStorage> => {
    const storage = new FaultyStorage();
    const { pool } = await openPool({ storage, encryption: aesGcm(OLD), sessions: ["a", "b"] });
    await pool.close();
    return storage;
  };

  test.each([
    ["of an unknown key", aesGcm(NEW), /missing from the list of keys/],
    ["without encryption", undefined, /it is encrypted: open the pool with the encryption/],
  ])("%s, all of them - open() says why, writes nothing, and closes the storage", async (_, encryption, reason) => {
    const storage = await sealed();
    const before = await storage.list();
    const error: unknown = await openPool({ storage, ...(encryption && { encryption }) }).catch((it: unknown) => it);
    expect(error).toBeInstanceOf(StorageCorruptError);
    expect((error as Error).message).toMatch(reason);
    expect(storage.isClosed).toBe(true);
    expect(await storage.list()).toEqual(before);
  });

  test.each([
    ["of an unknown key", OLD, NEW, /missing from the list of keys/],
    ["not sealed", undefined, NEW, /it is not sealed/],
    ["sealed, without encryption", OLD, undefined, /it is encrypted: open the pool with the encryption/],
  ])(
    "%s, some of them - are set aside, reported and logged, and the others serve",
    async (_, written, given, reason) => {
      const storage = new FaultyStorage();
      const withKey = (key: Buffer | undefined) => (key === undefined ? {} : { encryption: aesGcm(key) });
      const others = await openPool({ storage, ...withKey(given), sessions: ["c"] });
      await others.pool.close();
      const kept = await storage.read("c");
      await storage.write("c", kept?.version ?? 0, null);
      const first = await openPool({ storage, ...withKey(written), sessions: ["a", "b"] });
      await first.pool.close();
      await storage.write("c", 0, kept?.data ?? "");
      const logged: [string, string][] = [];
      const write = (level: string) => (text: string) => void logged.push([level, text]);
      const logger = { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
      const { pool, clock, events } = await openPool({ storage, ...withKey(given), logger });
      await clock.advance(0);
      expect(pool.rejected().map(({ id }) => id)).toEqual(["a", "b"]);
      expect(pool.rejected()[0]?.reason).toMatch(reason);
      expect(events("recordRejected")).toHaveLength(2);
      expect(logged.map(([level]) => level)).toEqual(["error", "error", "error"]);
      expect(logged[0]?.[1]).toContain("2 records cannot be opened");
      await expect(pool.use((_, lease) => lease.id)).resolves.toBe("c");
    },
  );

  test("are never overwritten when their key is unknown", async () => {
    const [storage, encryption, reason] = [await sealed(), aesGcm(NEW), /missing from the list of keys/];
    const { pool: other } = await openPool({ storage, encryption: aesGcm([NEW, OLD]), sessions: ["c"] });
    await other.close();
    const before = await storage.list();
    const { pool, events } = await openPool({ storage, encryption });
    expect(pool.rejected().map(({ id }) => id)).toEqual(["a", "b"]);
    expect(pool.rejected()[0]?.reason).toMatch(reason);
    await expect(pool.add("a", sessionString("a"))).rejects.toMatchObject({ code: "STORAGE_CORRUPT", sessionId: "a" });
    expect(pool.sessions().map(({ id }) => id)).toEqual(["c"]);
    expect((await storage.list()).filter(({ id }) => !id.startsWith("~"))).toEqual(
      before.filter(({ id }) => !id.startsWith("~")),
    );
    await new Promise((resolve) => setImmediate(resolve));
    expect(events("recordRejected")).toHaveLength(2);
  });

  test("are rejected alone when rows were swapped", async () => {
    const storage = await sealed();
    const [a, b] = [await storage.read("a"), await storage.read("b")];
    const swap = (data = "", other = ""): string =>
      JSON.stringify({ ...JSON.parse(data), session: JSON.parse(other).session });
    await storage.write("a", a?.version ?? 0, swap(a?.data, b?.data));
    const { pool } = await openPool({ storage, encryption: aesGcm(OLD) });
    expect({
      rejectedIds: pool.rejected().map(({ id }) => id),
      sessionIds: pool.sessions().map(({ id }) => id),
    }).toEqual({ rejectedIds: ["a"], sessionIds: ["b"] });
  });

  test("are refused when plain, unless allowPlaintext is on; rotateKeys() then seals them", async () => {
    const storage = new FaultyStorage();
    const plain = await openPool({ storage });
    await plain.pool.add("a", sessionString("a"), { profile: PROFILE });
    await plain.pool.close();
    await expect(openPool({ storage, encryption: aesGcm(NEW) })).rejects.toThrow("allowPlaintext");
    const migrating = await openPool({ storage, encryption: aesGcm(NEW, { allowPlaintext: true }) });
    expect(await migrating.pool.exportSession("a")).toBe(sessionString("a"));
    expect(await migrating.pool.rotateKeys()).toBe(1);
    expect(await allOf(storage)).not.toContain(PROFILE.apiHash);
    await migrating.pool.close();
    const after = await openPool({ storage, encryption: aesGcm(NEW) });
    expect({ rejected: after.pool.rejected(), session: await after.pool.exportSession("a") }).toEqual({
      rejected: [],
      session: sessionString("a"),
    });
  });
});

describe("rotateKeys()", () => {
  test("seals with the first key what another key sealed; then the old key can go", async () => {
    const storage = new FaultyStorage();
    const first = await openPool({ storage, encryption: aesGcm(OLD), sessions: ["a", "b"] });
    await first.pool.close();
    const { pool } = await openPool({ storage, encryption: aesGcm([NEW, OLD]) });
    await pool.add("c", sessionString("c"));
    expect(await pool.rotateKeys()).toBe(2);
    expect(await pool.rotateKeys()).toBe(0);
    const { pool: after } = await openPool({ storage, encryption: aesGcm(NEW) });
    expect({ rejected: after.rejected(), session: await after.exportSession("b") }).toEqual({
      rejected: [],
      session: sessionString("b"),
    });
  });

  test("includes records that another process has written since", async () => {
    const [inner, clock] = [memory(), new VirtualClock()];
    const open = (encryption: Sealer) => openPool({ storage: new FaultyStorage(inner), clock, encryption });
    const [{ pool }, late] = [await open(aesGcm([NEW, OLD])), await open(aesGcm(OLD))];
    await late.pool.add("a", sessionString("a"));
    await late.pool.close();
    expect(await pool.rotateKeys()).toBe(1);
    expect((await open(aesGcm(NEW))).pool.rejected()).toEqual([]);
  });

  test("does not disturb another process", async () => {
    const [inner, clock] = [memory(), new VirtualClock()];
    const one = await openPool({ storage: new FaultyStorage(inner), clock, encryption: aesGcm(OLD), sessions: ["a"] });
    await one.pool.close();
    const two = await openPool({ storage: new FaultyStorage(inner), clock, encryption: aesGcm([OLD, NEW]) });
    const three = await openPool({ storage: new FaultyStorage(inner), clock, encryption: aesGcm([NEW, OLD]) });
    const held = await two.pool.acquire();
    expect(await three.pool.rotateKeys()).toBe(1);
    await clock.advance(60_000);
    expect({ isAborted: held.signal.aborted, answer: await held.client.call(READ) }).toEqual({
      isAborted: false,
      answer: `${READ} by a`,
    });
    const { pool } = await openPool({ storage: new FaultyStorage(inner), clock, encryption: aesGcm(NEW) });
    expect(pool.rejected()).toEqual([]);
  });

  test("seals peers, again with each key", async () => {
    const inner = memory();
    const storage = Object.assign(new FaultyStorage(inner), { peers: inner.peers });
    const first = await openPool({ storage, encryption: aesGcm(OLD), sessions: ["a"] });
    await first.pool.use(() => {
      first.telegram.handle("a").request.peers.save({ id: "7", accessHash: "123456789", username: "somebody" });
    });
    await first.pool.close();
    const rows = async () => JSON.stringify(await inner.peers?.load("a"));
    const before = await rows();
    expect(before).toContain("sp1.");
    expect(before).not.toMatch(/somebody|123456789/);
    const { pool } = await openPool({ storage, encryption: aesGcm([NEW, OLD]) });
    await pool.rotateKeys();
    await pool.close();
    expect(await rows()).not.toBe(before);
    const after = await openPool({ storage, encryption: aesGcm(NEW) });
    await after.pool.use(() => 1);
    expect(await after.telegram.handle("a").request.peers.load()).toMatchObject([{ id: "7", username: "somebody" }]);
  });

  test("seals peers of a session whose record is sealed already", async () => {
    const inner = memory();
    const storage = Object.assign(new FaultyStorage(inner), { peers: inner.peers });
    const plain = await openPool({ storage, sessions: ["a"] });
    await plain.pool.use(() => {
      plain.telegram.handle("a").request.peers.save({ id: "7", accessHash: "123456789", username: "somebody" });
    });
    await plain.pool.close();
    const { pool } = await openPool({ storage, encryption: aesGcm(NEW, { allowPlaintext: true }) });
    await pool.update("a", { profile: PROFILE });
    expect(await pool.rotateKeys()).toBe(0);
    expect(JSON.stringify(await inner.peers?.load("a"))).not.toMatch(/somebody|123456789/);
    const fresh = JSON.stringify(await inner.peers?.load("a"));
    await pool.rotateKeys();
    expect(JSON.stringify(await inner.peers?.load("a"))).toBe(fresh);
  });

  test.each(["close", "destroy"] as const)(
    "%s() waits for the record that is being written, and for no other",
    async (end) => {
      const storage = new FaultyStorage();
      const ids = Array.from({ length: 20 }, (_, index) => `s${index}`);
      const first = await openPool({ storage, encryption: aesGcm(OLD), sessions: ids });
      await first.pool.close();
      const { pool, clock } = await openPool({ storage, encryption: aesGcm([NEW, OLD]) });
      const lag = deferred();
      storage.fateOfWrite = () => lag.promise;
      const writes = storage.writes.length;
      const rotated = watch(pool.rotateKeys());
      await clock.advance(0);
      const ended = watch(end === "close" ? pool.close({ timeoutMs: 0 }) : pool.destroy());
      lag.resolve();
      await clock.advance(0);
      expect({ ended: ended.state, rotated: rotated.state }).toEqual({ ended: "resolved", rotated: "rejected" });
      expect(rotated.error).toBeInstanceOf(PoolClosedError);
      expect(storage.writes.length - writes).toBe(1);
    },
  );

  test("a storage with writeMany() - is written many records together", async () => {
    const inner = memory();
    await inner.open?.();
    const batches: number[] = [];
    const storage = Object.assign(new FaultyStorage(inner), {
      writeMany: async (writes: readonly RecordWrite[]) => {
        batches.push(writes.length);
        return (await inner.writeMany?.(writes)) ?? [];
      },
    });
    const first = await openPool({ storage, encryption: aesGcm(OLD) });
    await first.pool.addMany(
      Array.from({ length: 300 }, (_, index) => ({ id: `s${index}`, session: sessionString() })),
    );
    await first.pool.close();
    const { pool } = await openPool({ storage, encryption: aesGcm([NEW, OLD]) });
    batches.length = 0;
    expect(await pool.rotateKeys()).toBe(300);
    expect(batches.length).toBeLessThan(10);
    expect(await pool.rotateKeys()).toBe(0);
  });

  test("without encryption rejects with OptionsError; when the storage fails, with StorageError, and can be repeated", async () => {
    const plain = await openPool();
    await expect(plain.pool.rotateKeys()).rejects.toBeInstanceOf(OptionsError);
    const storage = new FaultyStorage();
    const first = await openPool({ storage, encryption: aesGcm(OLD), sessions: ["a"] });
    await first.pool.close();
    const { pool, clock } = await openPool({ storage, encryption: aesGcm([NEW, OLD]) });
    storage.fateOfWrite = () => "hangs";
    const rotating = watch(pool.rotateKeys());
    await clock.advance(5_000);
    expect(rotating.error).toBeInstanceOf(StorageError);
    storage.heal();
    const again = watch(pool.rotateKeys());
    await clock.advance(30_000);
    expect(again.value).toBe(1);
  });
});

test("inspect() and JSON - of a pool with encryption show neither sessions nor keys", async () => {
  const { pool } = await openPool({ encryption: aesGcm(NEW), sessions: ["a"] });
  const lease = await pool.acquire();
  const text = [pool, lease, lease.session].map((it) => inspect(it, { depth: 10, showHidden: true })).join("\n");
  expect(text).not.toContain(sessionString("a").slice(40, 80));
  expect(text).not.toContain(NEW.toString("hex"));
});
