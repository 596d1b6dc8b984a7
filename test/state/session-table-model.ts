import type { SessionState } from "../../src/session-info.js";
import type { CooldownScope } from "../../src/state/cooldowns.js";
import type { Criteria } from "../../src/state/criteria.js";
import { stickyRank } from "../../src/state/criteria.js";

/** What the model cools: budgets have tests of their own. */
export type ModelScope = Exclude<CooldownScope, { kind: "budget" }>;

/** One session as the model sees it: plain fields, nothing derived. */
export interface ModelSession {
  readonly id: string;
  tags: readonly string[];
  isConnected: boolean;
  order: number;
  leases: number;
  draining: number;
  isRemoving: boolean;
  isDead: boolean;
  isDisabled: boolean;
  isForeign: boolean;
  /** `Infinity`: no end is known. */
  restrictedUntil: number | null;
  /** Whether the restriction is a freeze: callers that only read may have the session. */
  isFrozen: boolean;
  until: number;
  backOffUntil: number;
  methods: Map<string, number>;
  peers: Map<string, number>;
}

/** Who of two comes first: negative for `a`. */
export type ModelOrder = (a: ModelSession, b: ModelSession) => number;

/** A naive session table: every question is answered by visiting all sessions. */
export class SessionTableModel {
  readonly sessions: Map<string, ModelSession> = new Map();
  now: number;
  /** Ends of method and peer cooldowns that have not been passed: one for each that rests. */
  readonly narrow: Map<string, number> = new Map();
  readonly #leasesPerSession: number;
  readonly #maxConnected: number;
  readonly #order: ModelOrder;
  #useOrder = 0;
  #addOrder = -1_000_000;

  constructor(
    leasesPerSession: number,
    maxConnected: number,
    now: number,
    order: ModelOrder = (a, b) => a.order - b.order,
  ) {
    this.#order = order;
    this.#leasesPerSession = leasesPerSession;
    this.#maxConnected = maxConnected;
    this.now = now;
  }

  add(id: string, tags: readonly string[]): void {
    this.sessions.set(id, {
      id,
      tags,
      isConnected: false,
      order: ++this.#addOrder,
      leases: 0,
      draining: 0,
      isRemoving: false,
      isDead: false,
      isDisabled: false,
      isForeign: false,
      restrictedUntil: null,
      isFrozen: false,
      until: 0,
      backOffUntil: 0,
      methods: new Map(),
      peers: new Map(),
    });
  }

  advance(now: number): void {
    this.now = now;
    for (const [scope, until] of this.narrow) if (until <= now) this.narrow.delete(scope);
    for (const session of this.sessions.values()) {
      if (session.restrictedUntil === null || session.restrictedUntil > now) continue;
      if (!Number.isFinite(this.#dueAt(session))) continue;
      session.restrictedUntil = null;
      session.isFrozen = false;
    }
  }

  /** Of two freezes, the one whose end is known counts; of other restrictions the later one. */
  restrict(session: ModelSession, end: number, isFreeze: boolean): void {
    const known = session.restrictedUntil;
    const areFreezes = isFreeze && session.isFrozen;
    const isNews = areFreezes && known === Number.POSITIVE_INFINITY ? end < known : end > (known ?? 0);
    if (!isNews || (areFreezes && end === Number.POSITIVE_INFINITY)) return;
    session.restrictedUntil = end;
    session.isFrozen = isFreeze;
  }

  /** The end of a cooldown or back-off of a frozen session changes something although its freeze goes on. */
  noteFrozen(): void {
    for (const session of this.sessions.values()) {
      const rest = Math.max(session.until, session.backOffUntil);
      if (session.isFrozen && rest > this.now) this.narrow.set(JSON.stringify([session.id, { kind: "session" }]), rest);
    }
  }

  take(criteria: Criteria): string | undefined {
    const picked = this.pick(criteria);
    if (picked === undefined) return undefined;
    this.lease(picked);
    return picked.id;
  }

  lease(session: ModelSession): void {
    session.leases++;
    if (this.#leasesPerSession > 1) session.order = ++this.#useOrder;
  }

  pick(criteria: Criteria): ModelSession | undefined {
    const { key } = criteria;
    if (key === undefined || criteria.id !== undefined) return [...this.usable(criteria)].sort(this.#order)[0];
    const candidates = [...this.sessions.values()].filter((session) => this.#suits(session, criteria));
    const ranked = candidates
      .filter((session) => this.#canServeTo(session, criteria) || this.#isInUse(session, criteria))
      .sort((a, b) => stickyRank(key, b.id) - stickyRank(key, a.id));
    const [best] = ranked;
    return best !== undefined && this.#canServeTo(best, criteria) && this.#isWithinCap(best) ? best : undefined;
  }

  /** Whoever may be leased now, by a caller without a key. */
  usable(criteria: Criteria): readonly ModelSession[] {
    return [...this.sessions.values()].filter(
      (session) => this.#suits(session, criteria) && this.#canServeTo(session, criteria) && this.#isWithinCap(session),
    );
  }

  giveBack(session: ModelSession, isDraining: boolean): void {
    session.leases--;
    if (isDraining) session.draining++;
    session.order = ++this.#useOrder;
    this.#leave(session);
  }

  giveBackUnused(session: ModelSession): void {
    session.leases--;
    this.#leave(session);
  }

  drained(session: ModelSession): void {
    session.draining--;
    this.#leave(session);
  }

  remove(session: ModelSession): void {
    session.isRemoving = true;
    this.#leave(session);
  }

  cool(session: ModelSession, scope: ModelScope, until: number): boolean {
    const known =
      scope.kind === "session"
        ? session.until
        : scope.kind === "method"
          ? (session.methods.get(scope.method) ?? 0)
          : (session.peers.get(scope.peer) ?? 0);
    if (until <= known) return false;
    if (scope.kind === "session") session.until = until;
    else if (scope.kind === "method") session.methods.set(scope.method, until);
    else session.peers.set(scope.peer, until);
    if (scope.kind !== "session") this.narrow.set(JSON.stringify([session.id, scope]), until);
    return true;
  }

  stateOf(session: ModelSession): SessionState {
    if (session.leases + session.draining > 0) return "leased";
    if (session.isDisabled) return "disabled";
    if (session.isDead) return "dead";
    if (session.restrictedUntil !== null) return "restricted";
    if (session.isForeign) return "foreign";
    return Math.max(session.until, session.backOffUntil) > this.now ? "cooling" : "free";
  }

  counts(): Record<SessionState, number> {
    const counts = { free: 0, leased: 0, cooling: 0, restricted: 0, dead: 0, disabled: 0, foreign: 0 };
    for (const session of this.sessions.values()) counts[this.stateOf(session)]++;
    return counts;
  }

  get nextAvailableAt(): number | null {
    const sessions = [...this.sessions.values()];
    if (sessions.some((session) => this.#canServe(session))) return this.now;
    const rests = (session: ModelSession): boolean =>
      this.stateOf(session) === "cooling" || this.#isKeptByRestAlone(session);
    const ends = sessions.filter(rests).map((session) => Math.max(session.until, session.backOffUntil));
    return ends.length === 0 ? null : Math.min(...ends);
  }

  get nextDueAt(): number {
    const ends = [...this.sessions.values()].map((session) => this.#dueAt(session));
    return Math.min(Number.POSITIVE_INFINITY, ...ends, ...this.narrow.values());
  }

  #dueAt(session: ModelSession): number {
    const state = this.stateOf(session);
    const rest = Math.max(session.until, session.backOffUntil);
    if (state === "restricted") return session.restrictedUntil ?? Number.POSITIVE_INFINITY;
    if (state === "cooling") return rest;
    const isWatched = this.#hasRoomOfItsOwn(session) && !session.isDead && !session.isDisabled;
    if (!isWatched) return Number.POSITIVE_INFINITY;
    if (session.isForeign) return Number.POSITIVE_INFINITY;
    if (session.restrictedUntil !== null) return session.restrictedUntil;
    return rest > this.now ? rest : Number.POSITIVE_INFINITY;
  }

  /** Leased, but not as often as it may be: time alone keeps it from another lease. */
  #isKeptByRestAlone(session: ModelSession): boolean {
    const isFit = !session.isDead && !session.isDisabled && session.restrictedUntil === null && !session.isForeign;
    return this.#hasRoomOfItsOwn(session) && isFit;
  }

  #hasRoomOfItsOwn(session: ModelSession): boolean {
    const isLeased = session.leases > 0 && session.draining === 0;
    return isLeased && session.leases < this.#leasesPerSession && !session.isRemoving;
  }

  #canServe(session: ModelSession): boolean {
    const state = this.stateOf(session);
    if (state === "free") return !session.isRemoving;
    return this.#isKeptByRestAlone(session) && Math.max(session.until, session.backOffUntil) <= this.now;
  }

  #canServeTo(session: ModelSession, { allowFrozen }: Criteria): boolean {
    if (this.#canServe(session)) return true;
    const isOut = session.isRemoving || session.isDead || session.isDisabled || session.isForeign;
    if (allowFrozen !== true || !session.isFrozen || isOut || session.draining > 0) return false;
    return session.leases < this.#leasesPerSession && Math.max(session.until, session.backOffUntil) <= this.now;
  }

  #isInUse(session: ModelSession, { allowFrozen }: Criteria): boolean {
    const isHeld = session.restrictedUntil !== null && !(allowFrozen === true && session.isFrozen);
    const isFit = !session.isRemoving && !session.isDead && !session.isDisabled && !isHeld;
    const isRested = Math.max(session.until, session.backOffUntil) <= this.now;
    return this.stateOf(session) === "leased" && isFit && isRested;
  }

  #isWithinCap(session: ModelSession): boolean {
    return this.stateOf(session) === "leased" || this.counts().leased < this.#maxConnected;
  }

  #suits(session: ModelSession, criteria: Criteria): boolean {
    const isCool = (untils: Map<string, number>, keys: readonly string[]) =>
      keys.every((key) => (untils.get(key) ?? 0) <= this.now);
    return (
      (criteria.id === undefined || criteria.id === session.id) &&
      criteria.excluded?.has(session.id) !== true &&
      criteria.knows?.ids.has(session.id) !== false &&
      criteria.tags.every((tag) => session.tags.includes(tag)) &&
      isCool(session.methods, criteria.methods) &&
      isCool(session.peers, criteria.peers)
    );
  }

  #leave(session: ModelSession): void {
    if (!session.isRemoving || session.leases + session.draining > 0) return;
    this.sessions.delete(session.id);
    const ofSession = `[${JSON.stringify(session.id)},`;
    for (const scope of this.narrow.keys()) if (scope.startsWith(ofSession)) this.narrow.delete(scope);
  }
}
