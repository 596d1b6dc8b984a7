import { expect, test } from "vitest";
import { ANY } from "../../src/roster/criteria.js";
import { Roster } from "../../src/roster/roster.js";
import { RosterEntry } from "../../src/roster/roster-entry.js";

const NOW = 1_000;
const HOUR = 3_600_000;

function rosterOf(count: number, leasesPerSession = 1): { roster: Roster; entries: RosterEntry[] } {
  const roster = new Roster({ leasesPerSession, maxLeased: Number.POSITIVE_INFINITY });
  const entries = Array.from({ length: count }, (_, index) => new RosterEntry(`s${index}`, [], 0));
  roster.add(entries, NOW);
  return { roster, entries };
}

const at = (entries: readonly RosterEntry[], index: number): RosterEntry => entries[index] as RosterEntry;

test("take() - over n·k leases each of n sessions serves k", () => {
  const { roster } = rosterOf(7);
  const served = new Map<string, number>();
  for (let turn = 0; turn < 70; turn++) {
    const entry = roster.take(ANY, NOW) as RosterEntry;
    served.set(entry.id, (served.get(entry.id) ?? 0) + 1);
    roster.giveBack(entry, NOW, NOW, false);
  }
  expect([...served.values()]).toEqual(Array(7).fill(10));
});

test("take() - with several leases a session, sessions that nobody uses come first", () => {
  const { roster } = rosterOf(3, 2);
  const order = Array.from({ length: 7 }, () => roster.take(ANY, NOW)?.id);
  expect(order).toEqual(["s0", "s1", "s2", "s0", "s1", "s2", undefined]);
});

test("take() - one back from a cooldown goes before those used since", () => {
  const { roster, entries } = rosterOf(3);
  const [first] = entries.map(() => roster.take(ANY, NOW));
  for (const entry of entries) roster.giveBack(entry, NOW, NOW, false);
  roster.cool(first as RosterEntry, { kind: "session" }, NOW + 10, "flood", NOW);
  const second = roster.take(ANY, NOW + 1) as RosterEntry;
  roster.giveBack(second, NOW + 1, NOW, false);
  roster.advance(NOW + 10);
  const order = Array.from({ length: 3 }, () => roster.take(ANY, NOW + 10)?.id);
  expect(order).toEqual(["s0", "s2", "s1"]);
});

test("take() - not a millisecond before the cooldown's end", () => {
  const { roster, entries } = rosterOf(1);
  roster.cool(at(entries, 0), { kind: "session" }, NOW + HOUR, "flood", NOW);
  roster.advance(NOW + HOUR - 1);
  expect(roster.take(ANY, NOW + HOUR - 1)).toBeUndefined();
  roster.advance(NOW + HOUR);
  expect(roster.take(ANY, NOW + HOUR)?.id).toBe("s0");
});

test("cool() - a shorter wait never shortens, a longer one extends", () => {
  const { roster, entries } = rosterOf(1);
  const entry = at(entries, 0);
  for (const scope of [{ kind: "session" }, { kind: "method", method: "M" }, { kind: "peer", peer: "p" }] as const) {
    expect(roster.cool(entry, scope, NOW + 100, "flood", NOW)).toBe(true);
    expect(roster.cool(entry, scope, NOW + 50, "flood", NOW)).toBe(false);
    expect(roster.cool(entry, scope, NOW + 100, "flood", NOW)).toBe(false);
    expect(roster.cool(entry, scope, NOW + 101, "flood", NOW)).toBe(true);
  }
  expect(entry.cooldowns.sessionUntil).toBe(NOW + 101);
  expect(roster.holdOn(entry, "M", "p", NOW)?.until).toBe(NOW + 101);
});

test("cool() - of a method or peer leaves the session free for everything else", () => {
  const { roster, entries } = rosterOf(1);
  roster.cool(at(entries, 0), { kind: "method", method: "M" }, NOW + 10, "flood", NOW);
  roster.cool(at(entries, 0), { kind: "peer", peer: "user:1" }, NOW + 20, "flood", NOW);
  expect(roster.status(NOW)).toMatchObject({ free: 1, cooling: 0, nextAvailableAt: NOW });
  expect(roster.canServe({ ...ANY, methods: ["M"] }, NOW)).toBe(false);
  expect(roster.canServe({ ...ANY, peers: ["user:1"] }, NOW)).toBe(false);
  expect(roster.canServe({ ...ANY, methods: ["N"], peers: ["user:2"] }, NOW)).toBe(true);
  expect(roster.outlook({ ...ANY, methods: ["M"], peers: ["user:1"] }, NOW)).toEqual({
    cooling: 1,
    earliest: NOW + 20,
    hopeFrom: NOW + 20,
  });
  roster.advance(NOW + 10);
  expect(roster.canServe({ ...ANY, methods: ["M"] }, NOW + 10)).toBe(true);
});

test("take() - a key's session stays the same; a death moves only the keys of the dead", () => {
  const { roster, entries } = rosterOf(10);
  const keys = Array.from({ length: 500 }, (_, index) => `key${index}`);
  const where = () =>
    keys.map((key) => {
      const entry = roster.take({ ...ANY, key }, NOW) as RosterEntry;
      roster.giveBack(entry, NOW, NOW, false);
      return entry.id;
    });
  const before = where();
  expect(where()).toEqual(before);
  for (const entry of entries) expect(before.filter((id) => id === entry.id).length).toBeGreaterThan(20);
  roster.kill(at(entries, 4), "dead", NOW);
  const after = where();
  for (const [index, id] of before.entries()) {
    if (id !== "s4") expect(after[index]).toBe(id);
    else expect(after[index]).not.toBe("s4");
  }
});

test("take() - a key's session is waited for while leased, and stood in for while it cools", () => {
  const { roster } = rosterOf(5);
  const key = { ...ANY, key: "k" };
  const home = roster.take(key, NOW) as RosterEntry;
  expect(roster.take(key, NOW)).toBeUndefined();
  roster.cool(home, { kind: "session" }, NOW + 10, "flood", NOW);
  const next = roster.take(key, NOW) as RosterEntry;
  expect(next.id).not.toBe(home.id);
  roster.giveBack(next, NOW, NOW, false);
  roster.giveBack(home, NOW, NOW, false);
  roster.advance(NOW + 10);
  expect(roster.take(key, NOW + 10)?.id).toBe(home.id);
});

test("advance() - a session that cools while it has room for another lease is free for it at the instant", () => {
  const { roster, entries } = rosterOf(1, 2);
  roster.take(ANY, NOW);
  roster.cool(at(entries, 0), { kind: "session" }, NOW + 10, "flood", NOW);
  expect(roster.take(ANY, NOW)).toBeUndefined();
  expect(roster.nextDueAt).toBe(NOW + 10);
  roster.advance(NOW + 10);
  expect(roster.take(ANY, NOW + 10)?.id).toBe("s0");
});

test("cool() - of a session that was removed changes no count", () => {
  const { roster, entries } = rosterOf(1);
  const entry = roster.take(ANY, NOW) as RosterEntry;
  expect(roster.remove(entry, NOW)).toBe(false);
  expect(roster.status(NOW)).toMatchObject({ total: 1, leased: 1 });
  roster.giveBack(entry, NOW, NOW, false);
  roster.cool(at(entries, 0), { kind: "session" }, NOW + 10, "flood", NOW);
  roster.kill(entry, "dead", NOW);
  roster.revive(entry, NOW);
  const { total, nextAvailableAt, ...counts } = roster.status(NOW);
  expect([total, nextAvailableAt, ...Object.values(counts)]).toEqual([0, null, 0, 0, 0, 0, 0, 0, 0]);
  roster.advance(NOW + 20);
  expect(roster.take(ANY, NOW + 20)).toBeUndefined();
});

test("status() - the first of leased, disabled, dead, restricted, foreign, cooling, free", () => {
  const { roster, entries } = rosterOf(1);
  const entry = at(entries, 0);
  roster.take(ANY, NOW);
  roster.cool(entry, { kind: "session" }, NOW + HOUR, "flood", NOW);
  roster.setForeign(entry, true, NOW);
  roster.restrict(entry, { reason: "PEER_FLOOD", until: NOW + 10 }, NOW);
  roster.kill(entry, "dead", NOW);
  roster.disable(entry, "off", NOW);
  const seen = [entry.state];
  roster.giveBack(entry, NOW, NOW, true);
  seen.push(entry.state);
  roster.drained(entry, NOW);
  seen.push(entry.state);
  roster.disable(entry, null, NOW);
  roster.kill(entry, "dead", NOW);
  seen.push(entry.state);
  roster.kill(entry, null, NOW);
  seen.push(entry.state);
  roster.advance(NOW + 10);
  seen.push(entry.state);
  roster.setForeign(entry, false, NOW + 10);
  seen.push(entry.state);
  roster.advance(NOW + HOUR);
  seen.push(entry.state);
  expect(seen).toEqual(["leased", "leased", "disabled", "dead", "restricted", "foreign", "cooling", "free"]);
});

test("advance() - 10,000 sessions due at once are let out in order and without holding the loop", () => {
  const { roster, entries } = rosterOf(10_000);
  for (const entry of entries) roster.cool(entry, { kind: "session" }, NOW + 10, "flood", NOW);
  const began = performance.now();
  roster.advance(NOW + 10);
  expect(performance.now() - began).toBeLessThan(2_000);
  const order = Array.from({ length: 10 }, () => roster.take(ANY, NOW + 10)?.id);
  expect(order).toEqual(Array.from({ length: 10 }, (_, index) => `s${index}`));
  expect(roster.takeRecovered()).toHaveLength(10_000);
  expect(roster.takeRecovered()).toHaveLength(0);
});

test("add() - after a restart: never used first, as they come, then by last use", () => {
  const roster = new Roster({ leasesPerSession: 1, maxLeased: Number.POSITIVE_INFINITY });
  const uses: [string, number | null][] = [
    ["late", 30],
    ["new", null],
    ["early", 10],
    ["newer", null],
  ];
  const entries = uses.map(([id, lastUsedAt]) => Object.assign(new RosterEntry(id, [], 0), { lastUsedAt }));
  roster.add(entries, NOW);
  expect(entries.map(() => roster.take(ANY, NOW)?.id)).toEqual(["new", "newer", "early", "late"]);
});

test("advance() - so many at once: status, id and key see what is due all the same, and order is kept", () => {
  const { roster, entries } = rosterOf(1_000);
  for (const entry of entries) roster.cool(entry, { kind: "session" }, NOW + 10, "flood", NOW);
  roster.restrict(at(entries, 0), { reason: "PEER_FLOOD", until: NOW + 5 }, NOW);
  roster.disable(at(entries, 1), "off", NOW);
  expect(roster.advance(NOW + 10, 0)).toBe(false);
  const seen = { total: 1_000, free: 999, cooling: 0, restricted: 0, disabled: 1, nextAvailableAt: NOW + 10 };
  expect(roster.status(NOW + 10)).toMatchObject(seen);
  expect(roster.advance(NOW + 10, 100)).toBe(false);
  expect(roster.status(NOW + 10)).toMatchObject(seen);
  expect(roster.takeReady(ANY, NOW + 10)?.id).toBe("s0");
  expect(roster.takeReady({ ...ANY, id: "s700" }, NOW + 10)).toBeUndefined();
  expect(roster.take({ ...ANY, id: "s700" }, NOW + 10)?.id).toBe("s700");
  expect(roster.takeRecovered().length).toBe(101);
  const others = Array.from({ length: 997 }, () => roster.take(ANY, NOW + 10)?.id);
  expect(others).toEqual(entries.map(({ id }) => id).filter((id) => !["s0", "s1", "s700"].includes(id)));
  expect(roster.advance(NOW + 10, 1)).toBe(true);
  expect(roster.take(ANY, NOW + 10)).toBeUndefined();
});

test("canServe() - lets out for a caller what only is due", () => {
  const { roster, entries } = rosterOf(50);
  for (const entry of entries) roster.cool(entry, { kind: "session" }, NOW + 10, "flood", NOW);
  expect(roster.canServe(ANY, NOW + 9)).toBe(false);
  expect(roster.canServe(ANY, NOW + 10)).toBe(true);
  const key = { ...ANY, key: "k" };
  const home = roster.take(key, NOW + 10)?.id;
  const { roster: fresh } = rosterOf(50);
  expect(fresh.take(key, NOW)?.id).toBe(home);
});
