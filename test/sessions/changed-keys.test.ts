import { describe, expect, test } from "vitest";
import { authKeyFingerprint, parseSession } from "../../src/telegram/session-string.js";
import { READ } from "../fakes/fake-telegram.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { openPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { FakeRpcError } from "../fakes/telegram-errors.js";
import { twoHosts } from "../fakes/two-hosts.js";
import { settled } from "../fakes/virtual-clock.js";

const fingerprintOf = (name: string): string => authKeyFingerprint(parseSession(sessionString(name)).authKey);
const reservationOf = (name: string): string => `~key:${fingerprintOf(name)}`;
const revoked = (): never => {
  throw new FakeRpcError(401, "AUTH_KEY_UNREGISTERED");
};

describe("connecting - while the session gets another key", () => {
  test("by another process, before the claim: no client has the former key", async () => {
    const { one, two, telegram } = await twoHosts();
    // Nobody tells the second process of the change: its claim meets it.
    two.storage.fateOfRead = (id) => (id === "a" ? "works" : "works");
    await one.pool.update("a", { session: sessionString("new") });
    const lease = await two.pool.acquire({ id: "a" });
    expect(telegram.handle("a").fingerprint).toBe(fingerprintOf("new"));
    const connected = telegram.handles.filter(({ isConnected }) => isConnected);
    expect(connected.map(({ fingerprint }) => fingerprint)).toEqual([fingerprintOf("new")]);
    expect(telegram.connects).toHaveLength(1);
    lease.release();
  });

  test("by another process, and the former key was revoked: the session is not dead", async () => {
    const { one, two, telegram } = await twoHosts();
    await one.pool.update("a", { session: sessionString("new") });
    telegram.onConnect = () => {
      if (telegram.handle("a").fingerprint !== fingerprintOf("new")) revoked();
    };
    expect(await two.pool.use((client) => client.call(READ))).toBe(`${READ} by a`);
    expect({ died: two.events("died"), state: two.pool.get("a")?.state }).toEqual({ died: [], state: "free" });
  });

  test("by update() in the same process: the caller that waits for the connect gets the new one", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a"] });
    let go = (): void => {};
    telegram.onConnect = () => new Promise<void>((resolve) => (go = resolve));
    const leased = watch(pool.acquire({ id: "a" }));
    await settled();
    await pool.update("a", { session: sessionString("new") });
    telegram.onConnect = () => {};
    go();
    await settled();
    await settled();
    expect({ leased: leased.state, fingerprint: telegram.handle("a").fingerprint }).toEqual({
      leased: "resolved",
      fingerprint: fingerprintOf("new"),
    });
    expect(telegram.online).toEqual(["a"]);
  });
});

describe("a verdict on a former key of the session", () => {
  test("a death - is none of the session: it stays free", async () => {
    const { pool, telegram, storage, events } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire({ id: "a" });
    await pool.update("a", { session: sessionString("new") });
    telegram.onCall = revoked;
    await expect(lease.client.call(READ)).rejects.toMatchObject({ errorMessage: "AUTH_KEY_UNREGISTERED" });
    lease.release();
    await settled();
    expect({
      state: pool.get("a")?.state,
      died: events("died"),
      deadReason: (await storage.stored("a"))?.deadReason,
    }).toEqual({ state: "free", died: [], deadReason: null });
    telegram.onCall = () => "ok";
    expect(await pool.use((client) => client.call(READ), { wait: false })).toBe("ok");
  });

  test("a death of which another process has not written yet - the new key wins", async () => {
    const { one, two, telegram, clock } = await twoHosts();
    const lease = await two.pool.acquire({ id: "a" });
    // The second process does not hear of the change before its own write.
    const read = two.storage.read.bind(two.storage);
    two.storage.list = () => new Promise(() => {});
    await one.pool.update("a", { session: sessionString("new") });
    telegram.onCall = revoked;
    await lease.client.call(READ).catch(() => {});
    lease.release();
    await clock.advance(10_000);
    expect(JSON.parse((await read("a"))?.data ?? "{}")).toMatchObject({ deadReason: null });
    expect(two.pool.get("a")?.state).toBe("free");
  });

  test("retire() of a lease whose client has the former key - the session stays free", async () => {
    const { pool, storage, events } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire({ id: "a" });
    await pool.update("a", { session: sessionString("new") });
    lease.retire("AUTH_KEY_UNREGISTERED");
    lease.release();
    await settled();
    expect({
      state: pool.get("a")?.state,
      died: events("died"),
      deadReason: (await storage.stored("a"))?.deadReason,
    }).toEqual({ state: "free", died: [], deadReason: null });
    const next = await pool.acquire({ id: "a", wait: false });
    next.retire("banned");
    next.release();
    await settled();
    expect({ state: pool.get("a")?.state, died: events("died").length }).toEqual({ state: "dead", died: 1 });
  });

  test("a wait - counts all the same: it may be the account's", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire({ id: "a" });
    await pool.update("a", { session: sessionString("new") });
    telegram.onCall = () => {
      throw new FakeRpcError(420, "FLOOD_WAIT_60");
    };
    await lease.client.call(READ).catch(() => {});
    lease.release();
    expect(pool.get("a")?.state).toBe("cooling");
  });
});

describe("update() - that ends in the middle", () => {
  test("before the record is written: the key is free for another id", async () => {
    const storage = new FaultyStorage();
    const { pool, clock } = await openPool({ storage, sessions: ["alice"], storageTimeoutMs: 300 });
    storage.fateOfWrite = (id) => (id === "alice" ? "hangs" : "works");
    const updated = watch(pool.update("alice", { session: sessionString("new") }));
    await clock.advance(1_000);
    expect(updated.state).toBe("resolved");
    expect(await storage.stored(reservationOf("new"))).toMatchObject({ id: "alice", isConfirmed: false });
    const other = await openPool({ storage: storage.sibling(), clock });
    await other.pool.add("bob", sessionString("new"));
    expect(await storage.stored(reservationOf("new"))).toMatchObject({ id: "bob", isConfirmed: true });
  });

  test("whose record is written late: the key is confirmed before a client connects", async () => {
    const storage = new FaultyStorage();
    const { pool, clock } = await openPool({ storage, sessions: ["a"], storageTimeoutMs: 300 });
    storage.fateOfWrite = (id) => (id === "a" ? "fails" : "works");
    const updated = watch(pool.update("a", { session: sessionString("new") }));
    await clock.advance(1_000);
    expect(updated.state).toBe("resolved");
    storage.heal();
    await clock.advance(10_000);
    await pool.use((client) => client.call(READ));
    expect(await storage.stored(reservationOf("new"))).toMatchObject({ id: "a", isConfirmed: true });
  });

  test("because another id was faster: it keeps its former key, and the error names the holder of the new one", async () => {
    const { pool, storage, telegram } = await openPool({ sessions: ["a"] });
    const write = storage.write.bind(storage);
    storage.write = async (id, expected, data) => {
      const version = await write(id, expected, data);
      if (id === "a") {
        storage.write = write;
        const taken = await storage.read(reservationOf("new"));
        await write(reservationOf("new"), taken?.version ?? 0, JSON.stringify({ v: 1, id: "b", isConfirmed: true }));
      }
      return version;
    };
    await expect(pool.update("a", { session: sessionString("new") })).rejects.toMatchObject({ sessionId: "b" });
    expect(await pool.exportSession("a")).toBe(sessionString("a"));
    expect(await storage.stored("a")).toMatchObject({ fingerprint: fingerprintOf("a") });
    await pool.use((client) => client.call(READ));
    expect(telegram.handle("a").fingerprint).toBe(fingerprintOf("a"));
    expect(await storage.stored(reservationOf("a"))).toMatchObject({ id: "a", isConfirmed: true });
  });

  test("after the record was written: the former key is free once no client has it", async () => {
    const { pool, storage, clock } = await openPool({ sessions: ["a"] });
    storage.fateOfWrite = (id, data) => (id === reservationOf("a") && data === null ? "fails" : "works");
    await pool.update("a", { session: sessionString("new") });
    await settled();
    expect(await storage.stored(reservationOf("a"))).toMatchObject({ id: "a", isConfirmed: true });
    const other = await openPool({ storage: storage.sibling(), clock });
    await other.pool.add("b", sessionString("a"));
    expect(await storage.stored(reservationOf("a"))).toMatchObject({ id: "b", isConfirmed: true });
  });
});

test("add() - whose record cannot be written: the key is free again", async () => {
  const { pool, storage } = await openPool();
  storage.fateOfWrite = (id) => (id === "a" ? "fails" : "works");
  await expect(pool.add("a", sessionString("a"))).rejects.toMatchObject({ code: "STORAGE_FAILED" });
  expect(await storage.stored(reservationOf("a"))).toBeUndefined();
});

describe("a session whose login was not finished", () => {
  const unfinished = (): never => {
    throw new FakeRpcError(401, "SESSION_PASSWORD_NEEDED");
  };

  test("is reported and set aside, and the job runs on another one", async () => {
    const { pool, telegram, events, clock } = await openPool({ sessions: ["a", "b"] });
    telegram.onCall = ({ id }) => (id === "a" ? unfinished() : id);
    for (let i = 0; i < 4; i++) expect(await pool.use((client) => client.call(READ))).toBe("b");
    await clock.advance(100 * 86_400_000);
    expect(events("restricted")).toEqual([{ id: "a", reason: "SESSION_PASSWORD_NEEDED" }]);
    expect(pool.get("a")).toMatchObject({ state: "restricted", availableAt: null });
  });

  test("update() to another session string - makes it free; a restriction of the account stays", async () => {
    const { pool, telegram, storage } = await openPool({ sessions: ["a", "b"] });
    telegram.onCall = ({ id }) => (id === "a" ? unfinished() : "ok");
    await pool.use((client) => client.call(READ));
    telegram.onCall = ({ id }) => {
      if (id === "b") throw new FakeRpcError(400, "PEER_FLOOD");
    };
    await pool.use((client) => client.call(READ), { id: "b" }).catch(() => {});
    for (const id of ["a", "b"]) await pool.update(id, { session: sessionString(`new ${id}`) });
    expect({ stateOfA: pool.get("a")?.state, stateOfB: pool.get("b")?.state }).toEqual({
      stateOfA: "free",
      stateOfB: "restricted",
    });
    expect((await storage.stored("a"))?.restriction).toBeNull();
  });
});

test("USER_RESTRICTED - other methods of the account continue; the refused one is tried again after restrictedForMs", async () => {
  const { pool, telegram, clock } = await openPool({ sessions: ["a"], restrictedForMs: 60_000 });
  telegram.onCall = ({ method }) => {
    if (method === "channels.CreateChannel") throw new FakeRpcError(403, "USER_RESTRICTED");
    return "ok";
  };
  const create = () => pool.use((client) => client.call("channels.CreateChannel"), { wait: false });
  await create().catch(() => {});
  expect(await pool.use((client) => client.call(READ), { wait: false })).toBe("ok");
  await clock.advance(60_000);
  telegram.onCall = () => "created";
  expect(await create()).toBe("created");
});
