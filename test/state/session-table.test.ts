import { expect, test } from "vitest";
import { ANY } from "../../src/state/criteria.js";
import { SessionEntry } from "../../src/state/session-entry.js";
import { SessionTable } from "../../src/state/session-table.js";

const NOW = 1_000;
const HOUR = 3_600_000;

function createTable(count: number, leasesPerSession = 1): { sessionTable: SessionTable; entries: SessionEntry[] } {
  const sessionTable = new SessionTable({ leasesPerSession, maxConnected: Number.POSITIVE_INFINITY });
  const entries = Array.from({ length: count }, (_, index) => new SessionEntry(`s${index}`, [], 0));
  sessionTable.add(entries, NOW);
  return { sessionTable, entries };
}

const at = (entries: readonly SessionEntry[], index: number): SessionEntry => entries[index] as SessionEntry;

test("reserve() - over n·k leases each of n sessions serves k", () => {
  const { sessionTable } = createTable(7);
  const served = new Map<string, number>();
  for (let turn = 0; turn < 70; turn++) {
    const entry = sessionTable.reserve(ANY, NOW) as SessionEntry;
    served.set(entry.id, (served.get(entry.id) ?? 0) + 1);
    sessionTable.release(entry, NOW, NOW, false);
  }
  expect([...served.values()]).toEqual(Array(7).fill(10));
});

test("reserve() - with several leases a session, unused sessions come first", () => {
  const { sessionTable } = createTable(3, 2);
  const order = Array.from({ length: 7 }, () => sessionTable.reserve(ANY, NOW)?.id);
  expect(order).toEqual(["s0", "s1", "s2", "s0", "s1", "s2", undefined]);
});

test("reserve() - one back from a cooldown goes before those used since", () => {
  const { sessionTable, entries } = createTable(3);
  const [first] = entries.map(() => sessionTable.reserve(ANY, NOW));
  for (const entry of entries) sessionTable.release(entry, NOW, NOW, false);
  sessionTable.cool(first as SessionEntry, { kind: "session" }, NOW + 10, "flood", NOW);
  const second = sessionTable.reserve(ANY, NOW + 1) as SessionEntry;
  sessionTable.release(second, NOW + 1, NOW, false);
  sessionTable.expireDue(NOW + 10);
  const order = Array.from({ length: 3 }, () => sessionTable.reserve(ANY, NOW + 10)?.id);
  expect(order).toEqual(["s0", "s2", "s1"]);
});

test("reserve() - not a millisecond before the cooldown's end", () => {
  const { sessionTable, entries } = createTable(1);
  sessionTable.cool(at(entries, 0), { kind: "session" }, NOW + HOUR, "flood", NOW);
  sessionTable.expireDue(NOW + HOUR - 1);
  expect(sessionTable.reserve(ANY, NOW + HOUR - 1)).toBeUndefined();
  sessionTable.expireDue(NOW + HOUR);
  expect(sessionTable.reserve(ANY, NOW + HOUR)?.id).toBe("s0");
});

test("cool() - a shorter wait never shortens, a longer one extends", () => {
  const { sessionTable, entries } = createTable(1);
  const entry = at(entries, 0);
  for (const scope of [{ kind: "session" }, { kind: "method", method: "M" }, { kind: "peer", peer: "p" }] as const) {
    expect(sessionTable.cool(entry, scope, NOW + 100, "flood", NOW)).toBe(true);
    expect(sessionTable.cool(entry, scope, NOW + 50, "flood", NOW)).toBe(false);
    expect(sessionTable.cool(entry, scope, NOW + 100, "flood", NOW)).toBe(false);
    expect(sessionTable.cool(entry, scope, NOW + 101, "flood", NOW)).toBe(true);
  }
  expect(entry.cooldowns.sessionUntil).toBe(NOW + 101);
  expect(entry.cooldowns.blockingCooldown(["M"], ["p"], NOW)?.until).toBe(NOW + 101);
});

test("cool() - of a method or peer leaves the session free for everything else", () => {
  const { sessionTable, entries } = createTable(1);
  sessionTable.cool(at(entries, 0), { kind: "method", method: "M" }, NOW + 10, "flood", NOW);
  sessionTable.cool(at(entries, 0), { kind: "peer", peer: "user:1" }, NOW + 20, "flood", NOW);
  expect(sessionTable.status(NOW)).toMatchObject({ free: 1, cooling: 0, nextAvailableAt: NOW });
  expect(sessionTable.canServe({ ...ANY, methods: ["M"] }, NOW)).toBe(false);
  expect(sessionTable.canServe({ ...ANY, peers: ["user:1"] }, NOW)).toBe(false);
  expect(sessionTable.canServe({ ...ANY, methods: ["N"], peers: ["user:2"] }, NOW)).toBe(true);
  expect(sessionTable.forecast({ ...ANY, methods: ["M"], peers: ["user:1"] }, NOW)).toEqual({
    cooling: 1,
    earliest: NOW + 20,
    earliestPossibleAt: NOW + 20,
  });
  sessionTable.expireDue(NOW + 10);
  expect(sessionTable.canServe({ ...ANY, methods: ["M"] }, NOW + 10)).toBe(true);
});

test("reserve() - a key's session stays the same; a death moves only the keys of the dead", () => {
  const { sessionTable, entries } = createTable(10);
  const keys = Array.from({ length: 500 }, (_, index) => `key${index}`);
  const where = () =>
    keys.map((key) => {
      const entry = sessionTable.reserve({ ...ANY, key }, NOW) as SessionEntry;
      sessionTable.release(entry, NOW, NOW, false);
      return entry.id;
    });
  const before = where();
  expect(where()).toEqual(before);
  for (const entry of entries) expect(before.filter((id) => id === entry.id).length).toBeGreaterThan(20);
  sessionTable.setDead(at(entries, 4), "dead", NOW);
  const after = where();
  for (const [index, id] of before.entries()) {
    if (id !== "s4") expect(after[index]).toBe(id);
    else expect(after[index]).not.toBe("s4");
  }
});

test("reserve() - a key's session is waited for while leased, and stood in for while it cools", () => {
  const { sessionTable } = createTable(5);
  const key = { ...ANY, key: "k" };
  const home = sessionTable.reserve(key, NOW) as SessionEntry;
  expect(sessionTable.reserve(key, NOW)).toBeUndefined();
  sessionTable.cool(home, { kind: "session" }, NOW + 10, "flood", NOW);
  const next = sessionTable.reserve(key, NOW) as SessionEntry;
  expect(next.id).not.toBe(home.id);
  sessionTable.release(next, NOW, NOW, false);
  sessionTable.release(home, NOW, NOW, false);
  sessionTable.expireDue(NOW + 10);
  expect(sessionTable.reserve(key, NOW + 10)?.id).toBe(home.id);
});

test("expireDue() - a session that cools while it has room for another lease is free for it at the instant", () => {
  const { sessionTable, entries } = createTable(1, 2);
  sessionTable.reserve(ANY, NOW);
  sessionTable.cool(at(entries, 0), { kind: "session" }, NOW + 10, "flood", NOW);
  expect(sessionTable.reserve(ANY, NOW)).toBeUndefined();
  expect(sessionTable.nextDueAt).toBe(NOW + 10);
  sessionTable.expireDue(NOW + 10);
  expect(sessionTable.reserve(ANY, NOW + 10)?.id).toBe("s0");
});

test("cool() - of a session that was removed changes no count", () => {
  const { sessionTable, entries } = createTable(1);
  const entry = sessionTable.reserve(ANY, NOW) as SessionEntry;
  expect(sessionTable.remove(entry, NOW)).toBe(false);
  expect(sessionTable.status(NOW)).toMatchObject({ total: 1, leased: 1 });
  sessionTable.release(entry, NOW, NOW, false);
  sessionTable.cool(at(entries, 0), { kind: "session" }, NOW + 10, "flood", NOW);
  sessionTable.setDead(entry, "dead", NOW);
  sessionTable.revive(entry, NOW);
  const { total, nextAvailableAt, ...counts } = sessionTable.status(NOW);
  expect([total, nextAvailableAt, ...Object.values(counts)]).toEqual([0, null, 0, 0, 0, 0, 0, 0, 0]);
  sessionTable.expireDue(NOW + 20);
  expect(sessionTable.reserve(ANY, NOW + 20)).toBeUndefined();
});

test("status() - the first of leased, disabled, dead, restricted, foreign, cooling, free", () => {
  const { sessionTable, entries } = createTable(1);
  const entry = at(entries, 0);
  sessionTable.reserve(ANY, NOW);
  sessionTable.cool(entry, { kind: "session" }, NOW + HOUR, "flood", NOW);
  sessionTable.setForeign(entry, true, NOW);
  sessionTable.restrict(entry, { reason: "PEER_FLOOD", until: NOW + 10 }, NOW);
  sessionTable.setDead(entry, "dead", NOW);
  sessionTable.setDisabled(entry, "off", NOW);
  const seen = [entry.state];
  sessionTable.release(entry, NOW, NOW, true);
  seen.push(entry.state);
  sessionTable.drained(entry, NOW);
  seen.push(entry.state);
  sessionTable.setDisabled(entry, null, NOW);
  sessionTable.setDead(entry, "dead", NOW);
  seen.push(entry.state);
  sessionTable.setDead(entry, null, NOW);
  seen.push(entry.state);
  sessionTable.expireDue(NOW + 10);
  seen.push(entry.state);
  sessionTable.setForeign(entry, false, NOW + 10);
  seen.push(entry.state);
  sessionTable.expireDue(NOW + HOUR);
  seen.push(entry.state);
  expect(seen).toEqual(["leased", "leased", "disabled", "dead", "restricted", "foreign", "cooling", "free"]);
});

test("expireDue() - 10,000 sessions due at once are let out in order and without holding the loop", () => {
  const { sessionTable, entries } = createTable(10_000);
  for (const entry of entries) sessionTable.cool(entry, { kind: "session" }, NOW + 10, "flood", NOW);
  const began = performance.now();
  sessionTable.expireDue(NOW + 10);
  expect(performance.now() - began).toBeLessThan(2_000);
  const order = Array.from({ length: 10 }, () => sessionTable.reserve(ANY, NOW + 10)?.id);
  expect(order).toEqual(Array.from({ length: 10 }, (_, index) => `s${index}`));
  expect(sessionTable.takeRecovered()).toHaveLength(10_000);
  expect(sessionTable.takeRecovered()).toHaveLength(0);
});

test("add() - after a restart: never used first, as they come, then by last use", () => {
  const sessionTable = new SessionTable({ leasesPerSession: 1, maxConnected: Number.POSITIVE_INFINITY });
  const uses: [string, number | null][] = [
    ["late", 30],
    ["new", null],
    ["early", 10],
    ["newer", null],
  ];
  const entries = uses.map(([id, lastUsedAt]) => Object.assign(new SessionEntry(id, [], 0), { lastUsedAt }));
  sessionTable.add(entries, NOW);
  expect(entries.map(() => sessionTable.reserve(ANY, NOW)?.id)).toEqual(["new", "newer", "early", "late"]);
});

test("expireDue() - when too many are due for one batch: status, id and key see all that is due, and order is kept", () => {
  const { sessionTable, entries } = createTable(1_000);
  for (const entry of entries) sessionTable.cool(entry, { kind: "session" }, NOW + 10, "flood", NOW);
  sessionTable.restrict(at(entries, 0), { reason: "PEER_FLOOD", until: NOW + 5 }, NOW);
  sessionTable.setDisabled(at(entries, 1), "off", NOW);
  expect(sessionTable.expireDue(NOW + 10, 0)).toBe(false);
  const seen = { total: 1_000, free: 999, cooling: 0, restricted: 0, disabled: 1, nextAvailableAt: NOW + 10 };
  expect(sessionTable.status(NOW + 10)).toMatchObject(seen);
  expect(sessionTable.expireDue(NOW + 10, 100)).toBe(false);
  expect(sessionTable.status(NOW + 10)).toMatchObject(seen);
  expect(sessionTable.reserveAvailable(ANY, NOW + 10)?.id).toBe("s0");
  expect(sessionTable.reserveAvailable({ ...ANY, id: "s700" }, NOW + 10)).toBeUndefined();
  expect(sessionTable.reserve({ ...ANY, id: "s700" }, NOW + 10)?.id).toBe("s700");
  expect(sessionTable.takeRecovered().length).toBe(101);
  const others = Array.from({ length: 997 }, () => sessionTable.reserve(ANY, NOW + 10)?.id);
  expect(others).toEqual(entries.map(({ id }) => id).filter((id) => !["s0", "s1", "s700"].includes(id)));
  expect(sessionTable.expireDue(NOW + 10, 1)).toBe(true);
  expect(sessionTable.reserve(ANY, NOW + 10)).toBeUndefined();
});

test("canServe() - returns due sessions for a caller first", () => {
  const { sessionTable, entries } = createTable(50);
  for (const entry of entries) sessionTable.cool(entry, { kind: "session" }, NOW + 10, "flood", NOW);
  expect(sessionTable.canServe(ANY, NOW + 9)).toBe(false);
  expect(sessionTable.canServe(ANY, NOW + 10)).toBe(true);
  const key = { ...ANY, key: "k" };
  const home = sessionTable.reserve(key, NOW + 10)?.id;
  const { sessionTable: fresh } = createTable(50);
  expect(fresh.reserve(key, NOW)?.id).toBe(home);
});

test("relax() - lets an exhausted rate limit end earlier, and no cooldown by Telegram", () => {
  const { sessionTable, entries } = createTable(1);
  const entry = at(entries, 0);
  const scope = { kind: "budget", method: "m", peer: undefined } as const;
  const criteria = { ...ANY, methods: ["m"] };
  sessionTable.cool(entry, scope, NOW + 100, "budget", NOW);
  sessionTable.relax(entry, scope, NOW + 10, NOW);
  expect(sessionTable.nextDueAt).toBe(NOW + 10);
  expect([NOW + 9, NOW + 10].map((now) => sessionTable.canServe(criteria, now))).toEqual([false, true]);
  sessionTable.cool(entry, { kind: "method", method: "m" }, NOW + 50, "flood", NOW);
  sessionTable.relax(entry, scope, NOW + 5, NOW);
  expect([NOW + 49, NOW + 50].map((now) => sessionTable.canServe(criteria, now))).toEqual([false, true]);
});
