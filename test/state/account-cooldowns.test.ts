import fc from "fast-check";
import { expect, test } from "vitest";
import type { CooldownScope } from "../../src/state/cooldowns.js";
import { ANY } from "../../src/state/criteria.js";
import { SessionEntry } from "../../src/state/session-entry.js";
import { SessionTable } from "../../src/state/session-table.js";
import { coolAll, shareCooldowns } from "../../src/state/shared-cooldowns.js";

const IDS = ["a", "b", "c", "d", "e", "f"];
const ACCOUNTS = ["1", "2", "3"];
const SCOPES: readonly CooldownScope[] = [
  { kind: "session" },
  { kind: "method", method: "messages.SendMessage" },
  { kind: "peer", peer: "user:7" },
];

type Step = readonly [
  kind: "cool" | "learn" | "forget" | "remove" | "add" | "take" | "release" | "advance",
  id: string,
  account: string,
  scope: number,
  ms: number,
];

const step: fc.Arbitrary<Step> = fc.tuple(
  fc.constantFrom("cool", "cool", "learn", "learn", "forget", "remove", "add", "take", "release", "advance"),
  fc.constantFrom(...IDS),
  fc.constantFrom(...ACCOUNTS),
  fc.nat({ max: SCOPES.length - 1 }),
  fc.integer({ min: 1, max: 50 }),
);

/** What one session has been told to wait for, and the sessions of its account with it. */
class Model {
  readonly accounts = new Map<string, string | null>();
  readonly untils = new Map<string, number>();

  siblings(id: string): string[] {
    const account = this.accounts.get(id) ?? null;
    return account === null
      ? [id]
      : [...this.accounts].filter(([, other]) => other === account).map(([other]) => other);
  }

  until(id: string, scope: number): number {
    return this.untils.get(`${id} ${scope}`) ?? 0;
  }

  cool(id: string, scope: number, until: number): void {
    for (const sibling of this.siblings(id)) {
      this.untils.set(`${sibling} ${scope}`, Math.max(this.until(sibling, scope), until));
    }
  }

  join(id: string): void {
    for (const scope of SCOPES.keys()) {
      const latest = Math.max(...this.siblings(id).map((sibling) => this.until(sibling, scope)));
      if (latest > 0) this.cool(id, scope, latest);
    }
  }
}

class Run {
  readonly table: SessionTable;
  readonly model = new Model();
  readonly leased = new Set<SessionEntry>();
  now = 1_000;

  constructor() {
    this.table = new SessionTable({ leasesPerSession: 1, maxConnected: 100 });
  }

  apply([kind, id, account, scope, ms]: Step): void {
    const { table, model, now } = this;
    const entry = table.get(id);
    if (kind === "advance") this.now += ms;
    else if (kind === "take") this.#take();
    else if (kind === "add" && entry === undefined) this.#add(id, account, ms > 25);
    else if (entry === undefined) return;
    else if (kind === "cool") {
      coolAll(table, table.sharing(entry), SCOPES[scope] as CooldownScope, now + ms, "flood", now);
      model.cool(id, scope, now + ms);
    } else if (kind === "learn") {
      table.setFacts(entry, { accountId: account }, now);
      shareCooldowns(table, entry, now);
      model.accounts.set(id, account);
      model.join(id);
    } else if (kind === "forget") {
      table.clearFacts(entry, now);
      model.accounts.set(id, null);
    } else if (kind === "release" && this.leased.delete(entry)) table.release(entry, now, now, false);
    else if (kind === "remove" && !this.leased.has(entry)) {
      table.remove(entry, now);
      model.accounts.delete(id);
      for (const known of SCOPES.keys()) model.untils.delete(`${id} ${known}`);
    }
  }

  #add(id: string, account: string, isKnown: boolean): void {
    const entry = new SessionEntry(id, [], 0);
    if (isKnown) entry.setFacts({ accountId: account });
    this.table.add([entry], this.now);
    this.model.accounts.set(id, isKnown ? account : null);
    this.model.join(id);
  }

  #take(): void {
    const entry = this.table.reserve(ANY, this.now);
    if (entry === undefined) return;
    this.leased.add(entry);
    expect(this.model.until(entry.id, 0)).toBeLessThanOrEqual(this.now);
    this.#expectSpread(entry);
  }

  /** While any account without a lease could serve, no session of one with a lease is selected. */
  #expectSpread(taken: SessionEntry): void {
    const isBusy = (entry: SessionEntry): boolean =>
      entry.accountId !== null && this.table.sessionsOf(entry.accountId).some((one) => one !== taken && one.isLeased);
    if (!isBusy(taken)) return;
    const idle = [...this.table.entries()].filter((entry) => entry.isAvailable && !isBusy(entry));
    const others = idle.filter(({ accountId }) => accountId === null || accountId !== taken.accountId);
    expect(others.map(({ id }) => id)).toEqual([]);
  }

  check(): void {
    for (const entry of this.table.entries()) {
      for (const [scope, name] of SCOPES.entries()) {
        const expected = this.model.until(entry.id, scope);
        if (expected <= this.now) continue;
        expect([entry.id, name.kind, entry.cooldowns.until(name)]).toEqual([entry.id, name.kind, expected]);
      }
      const sessions = entry.accountId === null ? [entry] : this.table.sessionsOf(entry.accountId);
      expect(sessions).toContain(entry);
      expect(entry.accountSessions === null).toBe(sessions.length === 1);
      if (sessions.length === 1) expect(entry.isAccountInUse).toBe(false);
      else expect(entry.isAccountInUse).toBe(sessions.some((session) => session.isLeased));
    }
    expect(this.table.status(this.now).total).toBe([...this.table.entries()].length);
  }
}

test("cooldowns of an account - in any order of floods, learning, joining and leaving, the latest holds for all of it", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const run = new Run();
      for (const one of steps) {
        run.apply(one);
        run.check();
      }
    }),
    { numRuns: 500 },
  );
});
