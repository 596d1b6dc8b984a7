import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { aesGcm } from "../../src/encryption/sealer.js";
import { SessionPoolError } from "../../src/errors.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { openPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";

const PROXY = { ip: "127.0.0.1", port: 1080, socksType: 5, username: "u", password: "p", timeout: 5 };

/** A storage with a session of each kind of state, and what it holds of "a". */
async function storageWith(): Promise<{ readonly storage: FaultyStorage; readonly record: Record<string, unknown> }> {
  const storage = new FaultyStorage();
  const { pool, clock } = await openPool({ storage });
  const profile = { deviceModel: "Pixel", apiId: 1, apiHash: "h", proxy: PROXY, keepConnected: false } as const;
  await pool.add("a", sessionString("a"), {
    tags: ["x", "y"],
    profile: { ...profile, proxy: { ...PROXY, socksType: 5 } },
  });
  await pool.add("b", sessionString("b"));
  await pool.use((_, lease) => lease.coolDown(60, { method: "messages.SendMessage" }), { id: "a" });
  await pool.use((_, lease) => lease.coolDown(60, { peer: "channel:5" }), { id: "a" });
  await pool.use((_, lease) => lease.coolDown(1), { id: "a" });
  await clock.advance(0);
  await pool.close();
  const record = (await storage.stored("a")) ?? {};
  const owner = { pool: "p", beat: 2, ttlMs: 60_000, host: null, pid: 7, thread: 7, startedAt: "99" };
  return { storage, record: { ...record, restriction: { until: 5, reason: "PEER_FLOOD" }, owner } };
}

async function put(storage: FaultyStorage, data: string): Promise<void> {
  await storage.write("a", (await storage.read("a"))?.version ?? 0, data);
}

/** Opens a pool on the storage and does what a caller may do with the record. */
async function meet(storage: FaultyStorage, data: string): Promise<void> {
  await put(storage, data);
  const { pool, clock } = await openPool({ storage });
  await clock.advance(0);
  const isRejected = pool.rejected().some(({ id }) => id === "a");
  const calls = [
    watch(pool.use((_, lease) => lease.id, { id: "b" })),
    watch(pool.use((_, lease) => lease.id, { id: "a", wait: false })),
    watch(pool.use((_, lease) => lease.id, { wait: 1_000 })),
  ];
  await clock.advance(120_000);
  expect(calls.map(({ state }) => state)).not.toContain("pending");
  expect(calls[0]).toMatchObject({ state: "resolved", value: "b" });
  expect(calls[2]).toMatchObject({ state: "resolved" });
  for (const { error } of calls) if (error !== undefined) expect(error).toBeInstanceOf(SessionPoolError);
  pool.sessions();
  await pool.close();
  if (isRejected) expect((await storage.read("a"))?.data).toBe(data);
}

type Path = readonly (string | number)[];

/** Where each value of a record is. */
function pathsIn(value: unknown, path: Path = []): readonly Path[] {
  if (typeof value !== "object" || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, inner]) => pathsIn(inner, [...path, key]))];
}

/** The record with another value at a place; `undefined` takes it out. */
function withValue(record: unknown, [key, ...rest]: Path, value: unknown): unknown {
  if (key === undefined) return value;
  const copy = structuredClone(record) as Record<string | number, unknown>;
  copy[key] = withValue(copy[key], rest, value);
  return copy;
}

const NONSENSE = [null, undefined, 0, -1, 1.5, 1e308, "", "x", true, [], {}, [null], { until: null }, "user:1"];

describe("open() - a damaged record", () => {
  test("any value at any place of it - no caller fails for it, and it is not overwritten", async () => {
    const { storage, record } = await storageWith();
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...pathsIn(record)), fc.constantFrom(...NONSENSE), async (path, value) => {
        await meet(storage, JSON.stringify(withValue(record, path, value)) ?? "");
      }),
      { numRuns: 150 },
    );
  });

  test("whatever becomes of its characters - the same", async () => {
    const { storage, record } = await storageWith();
    const text = JSON.stringify(record);
    const change = fc.record({ at: fc.nat(text.length), drop: fc.nat(8), put: fc.string({ maxLength: 3 }) });
    await fc.assert(
      fc.asyncProperty(change, async ({ at, drop, put: added }) => {
        await meet(storage, text.slice(0, at) + added + text.slice(at + drop));
      }),
      { numRuns: 60 },
    );
  });

  test.each([
    { proxy: null },
    { proxy: [] },
    { proxy: { ip: 5, port: 1080, socksType: 5 } },
    { proxy: { ip: "127.0.0.1", port: "1080", socksType: 5 } },
    { proxy: { ip: "127.0.0.1", socksType: 5 } },
    { proxy: { ip: "127.0.0.1", port: 1080 } },
    { apiId: "1" },
    { keepConnected: "yes" },
    { langCode: 5 },
  ])("a profile of %j - is set aside, sealed or not", async (profile) => {
    const { storage, record } = await storageWith();
    await put(storage, JSON.stringify({ ...record, profile }));
    const { pool } = await openPool({ storage });
    expect(pool.rejected()).toEqual([{ id: "a", reason: 'its field "profile" is missing or damaged' }]);
    const sealer = aesGcm("k".repeat(43).replace(/k$/, "A"), { allowPlaintext: true });
    const session = await sealer.seal("a", JSON.stringify({ session: sessionString("a"), profile }));
    await put(storage, JSON.stringify({ ...record, session, profile: {} }));
    const sealed = await openPool({ storage, encryption: sealer });
    expect(sealed.pool.rejected()).toEqual([{ id: "a", reason: "its decrypted profile is damaged" }]);
  });

  test("of a session that serves already - is reported once, typed, and left unchanged", async () => {
    const { storage, record } = await storageWith();
    await put(storage, JSON.stringify({ ...record, owner: null, restriction: null, cooldown: null }));
    const { pool, clock, events } = await openPool({ storage });
    const damaged = JSON.stringify({ ...record, profile: { proxy: null } });
    await put(storage, damaged);
    await clock.advance(65_000);
    expect(events("recordRejected")).toEqual([{ id: "a", reason: 'its field "profile" is missing or damaged' }]);
    expect(events("storageFailed").map(({ error }) => (error as SessionPoolError).code)).toContain("STORAGE_CORRUPT");
    watch(pool.disable("a"));
    await clock.advance(20_000);
    expect((await storage.read("a"))?.data).toBe(damaged);
  });
});

describe("the pool's own records, damaged", () => {
  test("the reservation of a key, of a newer version - add() says so and writes nothing", async () => {
    const { storage, record } = await storageWith();
    const id = `~key:${String(record.fingerprint)}`;
    const stored = await storage.read(id);
    const newer = JSON.stringify({ v: 2, holders: ["a"] });
    await storage.write(id, stored?.version ?? 0, newer);
    await put(storage, JSON.stringify({ ...record, session: 5 }));
    const { pool } = await openPool({ storage });
    await expect(pool.add("other", sessionString("a"))).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
    expect((await storage.read(id))?.data).toBe(newer);
  });
});
