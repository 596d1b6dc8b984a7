import { expect, test } from "vitest";
import { NoSessionAvailableError } from "../../src/errors.js";
import { type FakeTelegram, READ } from "../fakes/fake-telegram.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { openPool, type TestPool } from "../fakes/pools.js";
import { flood, slowMode } from "../fakes/telegram-errors.js";
import { START, settled, VirtualClock } from "../fakes/virtual-clock.js";

const RECORD = "~pool:budgets";

/** Each session may make `calls` in a window of `seconds` that begins with the first. */
function limit(telegram: FakeTelegram, calls: number, seconds: number): void {
  const windows = new Map<string, { at: number; sent: number }>();
  telegram.onCall = ({ id, at }) => {
    const known = windows.get(id);
    const window = known === undefined || at >= known.at + seconds * 1_000 ? { at, sent: 0 } : known;
    windows.set(id, window);
    if (++window.sent <= calls) return id;
    throw flood(Math.ceil((window.at + seconds * 1_000 - at) / 1_000));
  };
}

const learning = { budgets: "learn", cooldownScope: "method" } as const;
const read = ({ pool }: TestPool, id?: string): Promise<unknown> =>
  pool.use((client) => client.call(READ), { wait: false, ...(id === undefined ? {} : { id }) }).catch((error) => error);

/** What is on record of the method. */
async function recorded(storage: FaultyStorage): Promise<unknown> {
  const stored = await storage.read(RECORD);
  return stored && (JSON.parse(stored.data) as { methods: Record<string, unknown> }).methods[READ];
}

test('budgets: "learn" - after one session was flooded, the others stop before the limit', async () => {
  const made = await openPool({ sessions: ["a", "b", "c"], ...learning });
  limit(made.telegram, 3, 100);
  for (let call = 0; call < 4; call++) await read(made, "a");
  expect(made.telegram.calls).toHaveLength(4);
  for (const id of ["b", "c"]) {
    for (let call = 0; call < 3; call++) expect(await read(made, id)).toBe(id);
    expect(await read(made, id)).toBeInstanceOf(NoSessionAvailableError);
  }
  expect(made.telegram.calls).toHaveLength(10);
  expect(made.events("cooled")).toHaveLength(1);
  expect(await made.pool.acquire({ method: READ, wait: false }).catch((error: unknown) => error)).toMatchObject({
    retryAt: START + 100_000,
  });
});

test('budgets: "learn" - the estimate outlives the process, and is merged with another process\'s', async () => {
  const storage = new FaultyStorage();
  const first = await openPool({ sessions: ["a"], storage, ...learning });
  limit(first.telegram, 3, 10);
  for (let call = 0; call < 4; call++) await read(first);
  await first.pool.close();
  expect(await recorded(storage)).toMatchObject({ calls: 3, perMs: 10_000 });
  const known = await storage.read(RECORD);
  const other = { calls: 7, perMs: 5_000, refusedMs: 4_000, changedAt: START };
  const methods = { ...(JSON.parse(known?.data ?? "{}") as { methods: object }).methods, "help.GetConfig": other };
  await storage.write(RECORD, known?.version ?? 0, JSON.stringify({ v: 1, methods }));
  const second = await openPool({ sessions: ["b"], storage, ...learning });
  for (let call = 0; call < 5; call++) await read(second, "b");
  expect(second.telegram.calls).toHaveLength(3);
  const lease = await second.pool.acquire({ id: "b" });
  const configs = Array.from({ length: 9 }, () => lease.client.call("help.GetConfig"));
  expect((await Promise.allSettled(configs)).filter(({ status }) => status === "fulfilled")).toHaveLength(7);
});

test('budgets: "learn" - an estimate of another running process is read with the next synchronization', async () => {
  const storage = new FaultyStorage();
  const clock = new VirtualClock();
  const [first, second] = [
    await openPool({ sessions: ["a"], storage, clock, ...learning }),
    await openPool({ sessions: ["b"], storage, clock, ...learning }),
  ];
  limit(first.telegram, 3, 100);
  limit(second.telegram, 3, 100);
  for (let call = 0; call < 4; call++) await read(first, "a");
  await clock.advance(21_000);
  for (let call = 0; call < 5; call++) await read(second, "b");
  expect(second.telegram.calls).toHaveLength(3);
});

test('budgets: "learn" - a write that lost to another process is merged, not lost', async () => {
  const storage = new FaultyStorage();
  const made = await openPool({ sessions: ["a"], storage, ...learning });
  const other = { calls: 7, perMs: 5_000, refusedMs: 4_000, changedAt: START };
  await storage.write(RECORD, 0, JSON.stringify({ v: 1, methods: { "help.GetConfig": other } }));
  limit(made.telegram, 3, 10);
  for (let call = 0; call < 4; call++) await read(made);
  await settled();
  expect(await recorded(storage)).toMatchObject({ calls: 3 });
  expect(JSON.parse((await storage.read(RECORD))?.data ?? "")).toMatchObject({ methods: { "help.GetConfig": other } });
});

test.each(["", "{}", "[]", '{"v":1,"methods":5}', `{"v":1,"methods":{"${READ}":{"calls":0,"perMs":1}}}`])(
  'budgets: "learn" - an unreadable record blocks nothing, and is replaced: %s',
  async (data) => {
    const storage = new FaultyStorage();
    await storage.write(RECORD, 0, data);
    const made = await openPool({ sessions: ["a"], storage, ...learning });
    limit(made.telegram, 2, 10);
    for (let call = 0; call < 3; call++) await read(made);
    await settled();
    expect(await recorded(storage)).toMatchObject({ calls: 2 });
    expect(made.pool.rejected()).toEqual([]);
    expect(made.pool.sessions()).toHaveLength(1);
  },
);

test('budgets: "learn" - a record of a newer version is set aside and kept until it is removed', async () => {
  const storage = new FaultyStorage();
  const newer = { v: 2, methods: {} };
  await storage.write(RECORD, 0, JSON.stringify(newer));
  const made = await openPool({ sessions: ["a"], storage, ...learning });
  await settled();
  const reason = "it was written by a newer version of this package (format 2; this one knows 1)";
  expect(made.events("recordRejected")).toEqual([{ id: RECORD, reason }]);
  limit(made.telegram, 2, 10);
  for (let call = 0; call < 3; call++) await read(made);
  await settled();
  expect(await storage.stored(RECORD)).toEqual(newer);
  expect(made.pool.rejected()).toEqual([{ id: RECORD, reason }]);
  await expect(made.pool.remove(RECORD)).resolves.toBe(true);
  await made.clock.advance(11_000);
  for (let call = 0; call < 3; call++) await read(made);
  await made.pool.close();
  expect(await recorded(storage)).toMatchObject({ calls: 2 });
});

test("close() - writes what a failed write has left", async () => {
  const made = await openPool({ sessions: ["a"], ...learning });
  limit(made.telegram, 2, 10);
  let failures = 1;
  made.storage.fateOfWrite = (id) => (id === RECORD && failures-- > 0 ? "fails" : "works");
  for (let call = 0; call < 3; call++) await read(made);
  await settled();
  expect(await recorded(made.storage)).toBeUndefined();
  await made.pool.close();
  expect(await recorded(made.storage)).toMatchObject({ calls: 2 });
});

test('budgets: "learn" - an estimate dated in the future by a wrong clock does not win over later ones', async () => {
  const storage = new FaultyStorage();
  const wrong = { calls: 50, perMs: 1_000, refusedMs: 0, changedAt: START + 10 ** 11 };
  await storage.write(RECORD, 0, JSON.stringify({ v: 1, methods: { [READ]: wrong } }));
  const made = await openPool({ sessions: ["a"], storage, ...learning });
  await made.clock.advance(1_000);
  limit(made.telegram, 2, 10);
  for (let call = 0; call < 3; call++) await read(made);
  await settled();
  expect(await recorded(storage)).toMatchObject({ calls: 2, changedAt: START + 1_000 });
});

test('budgets: "learn" - a storage that fails costs the record, not the calls', async () => {
  const made = await openPool({ sessions: ["a", "b"], ...learning });
  limit(made.telegram, 2, 10);
  const { write } = made.storage;
  made.storage.write = async (id, expected, data) => {
    if (id === RECORD) throw new Error("disk full");
    return write.call(made.storage, id, expected, data);
  };
  for (let call = 0; call < 3; call++) await read(made, "a");
  await settled();
  expect(made.events("storageFailed").length).toBeGreaterThan(0);
  for (let call = 0; call < 3; call++) await read(made, "b");
  expect(made.telegram.calls).toHaveLength(5);
});

test('budgets: "learn" - slow mode and other waits teach nothing', async () => {
  const made = await openPool({ sessions: ["a"], ...learning });
  let calls = 0;
  made.telegram.onCall = () => {
    if (++calls === 3) throw slowMode(10);
    return "ok";
  };
  for (let call = 0; call < 3; call++)
    await made.pool.use((client) => client.call(READ, { peer: "channel:1" }), { wait: false }).catch(() => {});
  await settled();
  expect(await recorded(made.storage)).toBeUndefined();
});
