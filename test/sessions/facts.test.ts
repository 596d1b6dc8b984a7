import { describe, expect, test } from "vitest";
import { memory } from "../../src/storage/memory.js";
import { decodeRecord, encodeRecord, type SessionRecord } from "../../src/storage/record.js";
import type { SessionStorage } from "../../src/storage/storage.js";
import { READ } from "../fakes/fake-telegram.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { openPool } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { twoHosts } from "../fakes/two-hosts.js";
import { settled } from "../fakes/virtual-clock.js";

/** Changes the record of "a" as another process would. */
async function change(storage: SessionStorage, fields: Partial<SessionRecord>): Promise<void> {
  const stored = await storage.read("a");
  if (stored === undefined) throw new Error("There is no record.");
  await storage.write("a", stored.version, encodeRecord({ ...decodeRecord(stored.data), ...fields }));
}

const FACTS = { accountId: "5000000001", isBot: false, expiresAt: 1_900_000_000_000 };
const UNKNOWN = { accountId: null, isBot: null, expiresAt: null };

describe("the account in a record", () => {
  test("is in the session's info once the pool has loaded it, and stays through further writes and restarts", async () => {
    const storage = new FaultyStorage(memory());
    const first = await openPool({ storage, sessions: ["a"] });
    await first.pool.close();
    await change(storage, FACTS);
    const second = await openPool({ storage, clock: first.clock });
    expect(second.pool.get("a")).toMatchObject(FACTS);
    await second.pool.disable("a", "on holiday");
    await second.pool.close();
    expect((await openPool({ storage, clock: first.clock })).pool.get("a")).toMatchObject(FACTS);
  });

  test("written by another process, reaches this one with accountLearnt", async () => {
    const { inner, clock, one } = await twoHosts();
    await change(inner, FACTS);
    await clock.advance(60_000);
    expect(one.pool.get("a")).toMatchObject(FACTS);
    expect(one.events("accountLearnt")).toEqual([{ id: "a", accountId: FACTS.accountId }]);
  });

  test("dropped by a process of an earlier version, is kept, and is in the next record", async () => {
    const { inner, clock, one } = await twoHosts();
    await change(inner, FACTS);
    await clock.advance(60_000);
    await change(inner, UNKNOWN);
    await clock.advance(60_000);
    expect(one.pool.get("a")).toMatchObject(FACTS);
    await one.pool.disable("a", "on holiday");
    expect(decodeRecord((await inner.read("a"))?.data ?? "")).toMatchObject(FACTS);
  });

  test("update() - with another auth key, forgets the account in every process", async () => {
    const { inner, clock, one, two } = await twoHosts();
    await change(inner, FACTS);
    await clock.advance(60_000);
    await two.pool.update("a", { session: sessionString("b") });
    await clock.advance(60_000);
    await settled();
    expect([one.pool.get("a"), two.pool.get("a")]).toMatchObject([UNKNOWN, UNKNOWN]);
  });

  test("costs no request and no write of its own when it is known", async () => {
    const { inner, clock, one, telegram } = await twoHosts();
    await change(inner, FACTS);
    await clock.advance(60_000);
    await one.pool.use((client) => client.call(READ));
    expect(telegram.calls.map(({ method }) => method)).toEqual([READ]);
  });
});
