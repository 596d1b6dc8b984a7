import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { expect } from "vitest";
import { ANY, type Criteria } from "../../src/state/criteria.js";
import type { SelectionOrder } from "../../src/state/selection-order.js";
import { SessionEntry } from "../../src/state/session-entry.js";
import { SessionTable } from "../../src/state/session-table.js";
import { type ModelOrder, type ModelScope, type ModelSession, SessionTableModel } from "./session-table-model.js";

const FIVE = ["a", "b", "c", "d", "e"];
const TAGS: readonly (readonly string[])[] = [["x"], ["x", "y"], [], ["y"], ["x"]];

/** What happens, to which session, and for how long. */
export type Step = readonly [kind: string, id: string, ms: number];

/** What happens with frozen sessions besides. */
const FREEZES = ["freeze", "freeze", "freezeForGood", "freezeForGood", "takeReading", "takeReading", "takeReadingById"];
const READING = ["takeReading", "takeReadingById", "takeReadingByKey", "takeReadingOfTag"];

/** Steps for these sessions, with frozen ones or without. */
export const stepOf = (ids: readonly string[], hasFreezes = false): fc.Arbitrary<Step> =>
  fc.tuple(
    fc.constantFrom(
      ...(hasFreezes ? [...FREEZES, ...READING] : []),
      ...["take", "take", "take", "takeId", "takeTag", "takeKey", "takeMethod", "takePeer", "takeOther"],
      ...["takeTags", "takeKeyOfTag", "takeKnowing", "takeKnowingOfTag", "takeKnowingByKey"],
      ...["giveBack", "giveBack", "giveBack", "drain", "drained", "giveBackUnused", "advance", "advance"],
      ...["cool", "coolMethod", "coolPeer", "backOff", "restrict", "restrictForGood", "kill", "disable", "revive"],
      ...["foreign", "own", "add", "add", "remove", "connect", "connect", "disconnect", "retag"],
    ),
    fc.constantFrom(...ids),
    fc.integer({ min: 1, max: 40 }),
  );

/** Settings of a table and its model. */
export interface PairSettings {
  readonly leasesPerSession?: number;
  readonly maxConnected?: number;
  readonly ids?: readonly string[];
  readonly order?: SelectionOrder;
  /** `"any"`: the table may reserve any session that can serve. */
  readonly modelOrder?: ModelOrder | "any" | undefined;
}

/** A table and its model: every step is applied to both. */
export class Pair {
  readonly sessionTable: SessionTable;
  readonly model: SessionTableModel;
  now = 1_000;
  readonly #leasesPerSession: number;
  readonly #mayTakeAny: boolean;
  readonly #entries = new Map<string, SessionEntry>();

  constructor({
    leasesPerSession = 1,
    maxConnected = Number.POSITIVE_INFINITY,
    ids = FIVE,
    order,
    modelOrder,
  }: PairSettings = {}) {
    this.#leasesPerSession = leasesPerSession;
    this.#mayTakeAny = modelOrder === "any";
    this.sessionTable = new SessionTable({ leasesPerSession, maxConnected, order });
    const known = modelOrder === "any" ? undefined : modelOrder;
    this.model = new SessionTableModel(leasesPerSession, maxConnected, this.now, known);
    for (const [place, id] of ids.entries()) this.#add(id, TAGS[place % TAGS.length] ?? []);
  }

  run([kind, id, ms]: Step): void {
    this.#run(kind, id, ms);
    this.model.noteFrozen();
    // A change may have brought something that is due already.
    this.#advance(0);
  }

  #run(kind: string, id: string, ms: number): void {
    const criteria = CRITERIA[kind]?.(id);
    const session = this.model.sessions.get(id);
    const entry = this.#entries.get(id);
    if (criteria !== undefined) this.#take(criteria);
    else if (kind === "advance") this.#advance(ms);
    else if (kind === "add" && session === undefined) this.#add(id, ["x"]);
    else if (session !== undefined && entry !== undefined) this.#change(kind, session, entry, ms);
  }

  check(): void {
    const { total, nextAvailableAt, ...counts } = this.sessionTable.status(this.now);
    const { model, sessionTable } = this;
    same({ ...counts }, model.counts());
    same(
      Object.values(counts).reduce((sum, count) => sum + count),
      total,
    );
    same([nextAvailableAt, sessionTable.nextDueAt], [model.nextAvailableAt, model.nextDueAt]);
    for (const entry of sessionTable.entries()) {
      same(entry.leases, model.sessions.get(entry.id)?.leases);
      same(entry.leases <= this.#leasesPerSession, true);
    }
    for (const kind of [
      "take",
      "takeKey",
      "takeTag",
      "takeMethod",
      "takePeer",
      "takeKnowing",
      "takeKnowingByKey",
      ...READING,
    ]) {
      const criteria = CRITERIA[kind]?.("a") ?? ANY;
      same(sessionTable.canServe(criteria, this.now), model.pick(criteria) !== undefined);
    }
  }

  #add(id: string, tags: readonly string[]): void {
    const entry = new SessionEntry(id, tags, 0);
    this.sessionTable.add([entry], this.now);
    this.model.add(id, tags);
    this.#entries.set(id, entry);
  }

  #advance(ms: number): void {
    this.now += ms;
    this.sessionTable.expireDue(this.now);
    this.model.advance(this.now);
  }

  #take(criteria: Criteria): void {
    const isAny = this.#mayTakeAny && (criteria.key === undefined || criteria.id !== undefined);
    const usable = isAny ? this.model.usable(criteria) : [];
    const taken = this.sessionTable.reserve(criteria, this.now)?.id;
    if (!isAny) {
      same(taken, this.model.take(criteria));
      return;
    }
    const session = usable.find(({ id }) => id === taken);
    same(session === undefined, usable.length === 0);
    if (session !== undefined) this.model.lease(session);
  }

  #change(kind: string, session: ModelSession, entry: SessionEntry, ms: number): void {
    const { sessionTable, model, now } = this;
    const isGiven = session.leases > 0 && (kind === "giveBack" || kind === "drain");
    if (isGiven) {
      sessionTable.release(entry, now, now, kind === "drain");
      model.giveBack(session, kind === "drain");
    } else if (session.leases > 0 && kind === "giveBackUnused") {
      sessionTable.cancel(entry, now);
      model.giveBackUnused(session);
    } else if (kind === "drained" && session.draining > 0) {
      sessionTable.drained(entry, now);
      model.drained(session);
    }
    const scope = SCOPES[kind];
    if (scope !== undefined) {
      same(sessionTable.cool(entry, scope, now + ms, "flood", now), model.cool(session, scope, now + ms));
    }
    if (kind === "retag") {
      session.tags = TAGS[ms % TAGS.length] ?? [];
      sessionTable.setTags(entry, session.tags, now);
    } else if (kind === "connect" || kind === "disconnect") {
      session.isConnected = kind === "connect";
      sessionTable.setConnected(entry, session.isConnected, now);
    }
    this.#mark(kind, session, entry, now + ms);
  }

  #mark(kind: string, session: ModelSession, entry: SessionEntry, until: number): void {
    const { sessionTable, model, now } = this;
    const both = (change: () => void, fields: Partial<ModelSession>): void => {
      change();
      Object.assign(session, fields);
    };
    const restrict = (end: number | null, isFreeze = false) => {
      sessionTable.restrict(entry, { reason: isFreeze ? "FROZEN_METHOD_INVALID" : "", until: end }, now);
      model.restrict(session, end ?? Number.POSITIVE_INFINITY, isFreeze);
    };
    const alive = { isDead: false, isDisabled: false, restrictedUntil: null, isFrozen: false, backOffUntil: 0 };
    if (kind === "backOff") {
      both(() => sessionTable.backOff(entry, { until, reason: "connect failed" }, now), {
        backOffUntil: Math.max(session.backOffUntil, until),
      });
    } else if (kind === "restrict") restrict(until);
    else if (kind === "restrictForGood") restrict(null);
    else if (kind === "freeze") restrict(until, true);
    else if (kind === "freezeForGood") restrict(null, true);
    else if (kind === "kill") both(() => sessionTable.setDead(entry, "dead", now), { isDead: true });
    else if (kind === "disable") both(() => sessionTable.setDisabled(entry, "off", now), { isDisabled: true });
    else if (kind === "revive") both(() => sessionTable.revive(entry, now), alive);
    else if (kind === "foreign" || kind === "own") {
      both(() => sessionTable.setForeign(entry, kind === "foreign", now), { isForeign: kind === "foreign" });
    } else if (kind === "remove") {
      sessionTable.remove(entry, now);
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
  takeTags: (id) => ({ ...ANY, tags: ["x", "y"], methods: ["M"], excluded: new Set([id]) }),
  takeKeyOfTag: (id) => ({ ...ANY, key: id, tags: ["x"], methods: ["M"], peers: ["user:1"] }),
  takeKey: (id) => ({ ...ANY, key: id }),
  takeMethod: () => ({ ...ANY, methods: ["M"] }),
  takePeer: () => ({ ...ANY, peers: ["user:1"], methods: ["N"] }),
  takeKnowing: (id) => ({ ...ANY, knows: { peer: "@name", ids: new Set([id, "gone"]) } }),
  takeKnowingOfTag: (id) => ({ ...ANY, tags: ["x"], knows: { peer: "@name", ids: new Set([id, "a", "b", "c"]) } }),
  takeKnowingByKey: (id) => ({ ...ANY, key: id, knows: { peer: "@name", ids: new Set(["a", "d"]) } }),
  takeReading: () => ({ ...ANY, allowFrozen: true }),
  takeReadingById: (id) => ({ ...ANY, id, allowFrozen: true }),
  takeReadingByKey: (id) => ({ ...ANY, key: id, methods: ["M"], allowFrozen: true }),
  takeReadingOfTag: () => ({ ...ANY, tags: ["x"], peers: ["user:1"], allowFrozen: true }),
  takeOther: (id) => ({ ...ANY, excluded: new Set([id]) }),
};
