import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { expect, test } from "vitest";
import { ANY, type Criteria } from "../../src/roster/criteria.js";
import { Roster } from "../../src/roster/roster.js";
import { RosterEntry } from "../../src/roster/roster-entry.js";
import { type ModelScope, type ModelSession, RosterModel } from "./roster-model.js";

const IDS = ["a", "b", "c", "d", "e"];
const TAGS: Readonly<Record<string, readonly string[]>> = { a: ["x"], b: ["x", "y"], c: [], d: ["y"], e: ["x"] };

type Step = readonly [kind: string, id: string, ms: number];

const step: fc.Arbitrary<Step> = fc.tuple(
  fc.constantFrom(
    ...["take", "take", "take", "takeId", "takeTag", "takeKey", "takeMethod", "takePeer", "takeOther"],
    ...["giveBack", "giveBack", "giveBack", "drain", "drained", "giveBackUnused", "advance", "advance"],
    ...["cool", "coolMethod", "coolPeer", "backOff", "restrict", "restrictForGood", "kill", "disable", "revive"],
    ...["foreign", "own", "add", "add", "remove"],
  ),
  fc.constantFrom(...IDS),
  fc.integer({ min: 1, max: 40 }),
);

/** The roster beside its model: every step goes to both. */
class Pair {
  readonly roster: Roster;
  readonly model: RosterModel;
  now = 1_000;
  readonly #leasesPerSession: number;
  readonly #entries = new Map<string, RosterEntry>();

  constructor(leasesPerSession: number, maxLeased: number) {
    this.#leasesPerSession = leasesPerSession;
    this.roster = new Roster({ leasesPerSession, maxLeased });
    this.model = new RosterModel(leasesPerSession, maxLeased, this.now);
    for (const id of IDS) this.#add(id);
  }

  run([kind, id, ms]: Step): void {
    const criteria = CRITERIA[kind]?.(id);
    const session = this.model.sessions.get(id);
    const entry = this.#entries.get(id);
    if (criteria !== undefined) this.#take(criteria);
    else if (kind === "advance") this.#advance(ms);
    else if (kind === "add" && session === undefined) this.#add(id);
    else if (session !== undefined && entry !== undefined) this.#change(kind, session, entry, ms);
  }

  check(): void {
    const { total, nextAvailableAt, ...counts } = this.roster.status(this.now);
    const { model, roster } = this;
    same({ ...counts }, model.counts());
    same(
      Object.values(counts).reduce((sum, count) => sum + count),
      total,
    );
    same([nextAvailableAt, roster.nextDueAt], [model.nextAvailableAt, model.nextDueAt]);
    for (const entry of roster.entries()) {
      same(entry.leases, model.sessions.get(entry.id)?.leases);
      same(entry.leases <= this.#leasesPerSession, true);
    }
    for (const kind of ["take", "takeKey", "takeTag", "takeMethod", "takePeer"]) {
      const criteria = CRITERIA[kind]?.("a") ?? ANY;
      same(roster.canServe(criteria, this.now), model.pick(criteria) !== undefined);
    }
  }

  #add(id: string): void {
    const entry = new RosterEntry(id, TAGS[id] ?? [], 0);
    this.roster.add([entry], this.now);
    this.model.add(id, TAGS[id] ?? []);
    this.#entries.set(id, entry);
  }

  #advance(ms: number): void {
    this.now += ms;
    this.roster.advance(this.now);
    this.model.advance(this.now);
  }

  #take(criteria: Criteria): void {
    same(this.roster.take(criteria, this.now)?.id, this.model.take(criteria));
  }

  #change(kind: string, session: ModelSession, entry: RosterEntry, ms: number): void {
    const { roster, model, now } = this;
    const isGiven = session.leases > 0 && (kind === "giveBack" || kind === "drain");
    if (isGiven) {
      roster.giveBack(entry, now, now, kind === "drain");
      model.giveBack(session, kind === "drain");
    } else if (session.leases > 0 && kind === "giveBackUnused") {
      roster.giveBackUnused(entry, now);
      model.giveBackUnused(session);
    } else if (kind === "drained" && session.draining > 0) {
      roster.drained(entry, now);
      model.drained(session);
    }
    const scope = SCOPES[kind];
    if (scope !== undefined) {
      same(roster.cool(entry, scope, now + ms, "flood", now), model.cool(session, scope, now + ms));
    }
    this.#mark(kind, session, entry, now + ms);
  }

  #mark(kind: string, session: ModelSession, entry: RosterEntry, until: number): void {
    const { roster, model, now } = this;
    const both = (change: () => void, fields: Partial<ModelSession>): void => {
      change();
      Object.assign(session, fields);
    };
    const restrict = (end: number | null) =>
      both(() => roster.restrict(entry, { reason: "", until: end }, now), {
        restrictedUntil: Math.max(session.restrictedUntil ?? 0, end ?? Number.POSITIVE_INFINITY),
      });
    const alive = { isDead: false, isDisabled: false, restrictedUntil: null, backOffUntil: 0 };
    if (kind === "backOff") {
      both(() => roster.backOff(entry, { until, reason: "connect failed" }, now), {
        backOffUntil: Math.max(session.backOffUntil, until),
      });
    } else if (kind === "restrict") restrict(until);
    else if (kind === "restrictForGood") restrict(null);
    else if (kind === "kill") both(() => roster.kill(entry, "dead", now), { isDead: true });
    else if (kind === "disable") both(() => roster.disable(entry, "off", now), { isDisabled: true });
    else if (kind === "revive") both(() => roster.revive(entry, now), alive);
    else if (kind === "foreign" || kind === "own") {
      both(() => roster.setForeign(entry, kind === "foreign", now), { isForeign: kind === "foreign" });
    } else if (kind === "remove") {
      roster.remove(entry, now);
      model.remove(session);
    }
  }
}

/** `expect` a hundred thousand times takes seconds. */
function same(actual: unknown, expected: unknown): void {
  if (!isDeepStrictEqual(actual, expected)) expect(actual).toEqual(expected);
}

const SCOPES: Readonly<Record<string, ModelScope>> = {
  cool: { kind: "session" },
  coolMethod: { kind: "method", method: "M" },
  coolPeer: { kind: "peer", peer: "user:1" },
};

const CRITERIA: Readonly<Record<string, (id: string) => Criteria>> = {
  take: () => ANY,
  takeId: (id) => ({ ...ANY, id }),
  takeTag: () => ({ ...ANY, tags: ["x"] }),
  takeKey: (id) => ({ ...ANY, key: id }),
  takeMethod: () => ({ ...ANY, methods: ["M"] }),
  takePeer: () => ({ ...ANY, peers: ["user:1"], methods: ["N"] }),
  takeOther: (id) => ({ ...ANY, excluded: new Set([id]) }),
};

test.each([
  [1, Number.POSITIVE_INFINITY],
  [1, 2],
  [2, Number.POSITIVE_INFINITY],
  [3, 2],
])("Roster - %d leases a session, at most %d leased: every step as the model says", (leasesPerSession, maxLeased) => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 300, size: "max" }), (steps) => {
      const pair = new Pair(leasesPerSession, maxLeased);
      for (const one of steps) {
        pair.run(one);
        pair.check();
      }
    }),
    { numRuns: 300 },
  );
});
