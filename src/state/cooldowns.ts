/** The scope of a cooldown: the session, a method or a peer; for an exhausted rate limit, a method (and a peer). */
export type CooldownScope =
  | { readonly kind: "session" }
  | { readonly kind: "method"; readonly method: string }
  | { readonly kind: "peer"; readonly peer: string }
  | { readonly kind: "budget"; readonly method: string; readonly peer: string | undefined };

/** Adds the method and the peer that a cooldown covers to the sets. A cooldown of the whole session adds neither. */
export function addScope(scope: CooldownScope, methods: Set<string>, peers: Set<string>): void {
  if (scope.kind === "method" || scope.kind === "budget") methods.add(scope.method);
  if ((scope.kind === "peer" || scope.kind === "budget") && scope.peer !== undefined) peers.add(scope.peer);
}

/** A cooldown that blocks a request. */
export interface ActiveCooldown {
  readonly scope: CooldownScope;
  readonly until: number;
}

const SESSION: CooldownScope = { kind: "session" };

/** The cooldowns of one session, its methods and its peers. Their ends only ever move later, but for rate limits. */
export class Cooldowns {
  /** Shared by all sessions that never had a cooldown, to save memory. MUST NOT be extended. */
  static readonly NONE: Cooldowns = new Cooldowns();

  sessionUntil = 0;
  reason: string | null = null;
  // One entry for each method or peer that is cooling; entries that have ended are removed when a lease ends.
  #methods: Map<string, number> | undefined;
  #peers: Map<string, number> | undefined;
  /** Exhausted rate limits. Not durable. */
  #budgets: Map<string, number> | undefined;

  /** Starts or extends a cooldown. Returns whether its end has changed. */
  extend(scope: CooldownScope, until: number, reason: string | null = null): boolean {
    switch (scope.kind) {
      case "session":
        if (until <= this.sessionUntil) return false;
        this.sessionUntil = until;
        this.reason = reason;
        return true;
      case "method":
        this.#methods ??= new Map();
        return extend(this.#methods, scope.method, until);
      case "peer":
        this.#peers ??= new Map();
        return extend(this.#peers, scope.peer, until);
      case "budget":
        this.#budgets ??= new Map();
        return extend(this.#budgets, budgetKey(scope.method, scope.peer), until);
    }
  }

  /** Lets an exhausted rate limit end earlier. Returns whether its end has changed. */
  shortenBudget(method: string, peer: string | undefined, until: number): boolean {
    const key = budgetKey(method, peer);
    if (this.#budgets === undefined || until >= (this.#budgets.get(key) ?? 0)) return false;
    this.#budgets.set(key, until);
    return true;
  }

  /** The end of a cooldown; 0 if there is none. */
  until(scope: CooldownScope): number {
    switch (scope.kind) {
      case "session":
        return this.sessionUntil;
      case "method":
        return this.#methods?.get(scope.method) ?? 0;
      case "peer":
        return this.#peers?.get(scope.peer) ?? 0;
      case "budget":
        return this.#budgets?.get(budgetKey(scope.method, scope.peer)) ?? 0;
    }
  }

  /** Returns the cooldown or exhausted rate limit that blocks such a request for longest. */
  blockingCooldown(methods: readonly string[], peers: readonly string[], now: number): ActiveCooldown | undefined {
    const cooldown = this.blockingTelegramCooldown(methods, peers, now);
    const budgets = this.#budgets;
    return budgets === undefined ? cooldown : laterBudget(cooldown, budgets, methods, peers, now);
  }

  /** Like {@link blockingCooldown}, but for cooldowns by Telegram or a caller only, without rate limits. */
  blockingTelegramCooldown(
    methods: readonly string[],
    peers: readonly string[],
    now: number,
  ): ActiveCooldown | undefined {
    let latest: ActiveCooldown | undefined;
    if (this.sessionUntil > now) latest = { scope: SESSION, until: this.sessionUntil };
    for (const method of this.#methods === undefined ? [] : methods) {
      latest = later(latest, this.#methods?.get(method), now, { kind: "method", method });
    }
    for (const peer of this.#peers === undefined ? [] : peers) {
      latest = later(latest, this.#peers?.get(peer), now, { kind: "peer", peer });
    }
    return latest;
  }

  /** Whether the method is cooling. */
  isMethodCooling(method: string, now: number): boolean {
    return (this.#methods?.get(method) ?? 0) > now;
  }

  /** The methods and peers that are still cooling, for the record. */
  entries(now: number): { readonly methods: readonly [string, number][]; readonly peers: readonly [string, number][] } {
    return { methods: live(this.#methods, now), peers: live(this.#peers, now) };
  }

  /** The cooldowns by Telegram or a caller that have not ended. */
  *active(now: number): Generator<ActiveCooldown & { readonly reason: string }> {
    if (this.sessionUntil > now) yield { scope: SESSION, until: this.sessionUntil, reason: this.reason ?? "" };
    const { methods, peers } = this.entries(now);
    for (const [method, until] of methods) yield { scope: { kind: "method", method }, until, reason: "" };
    for (const [peer, until] of peers) yield { scope: { kind: "peer", peer }, until, reason: "" };
  }

  /** Removes cooldowns that have ended. */
  prune(now: number): void {
    if (prune(this.#methods, now)) this.#methods = undefined;
    if (prune(this.#peers, now)) this.#peers = undefined;
    if (prune(this.#budgets, now)) this.#budgets = undefined;
  }
}

function extend(untils: Map<string, number>, key: string, until: number): boolean {
  if (until <= (untils.get(key) ?? 0)) return false;
  untils.set(key, until);
  return true;
}

function later(
  cooldown: ActiveCooldown | undefined,
  until: number | undefined,
  now: number,
  scope: CooldownScope,
): ActiveCooldown | undefined {
  if (until === undefined || until <= now || (cooldown !== undefined && cooldown.until >= until)) return cooldown;
  return { scope, until };
}

/** The key of a rate limit for a method, or for a method and a peer. Names of methods contain no spaces. */
export function budgetKey(method: string, peer: string | undefined): string {
  return peer === undefined ? method : `${method} ${peer}`;
}

/** A rate limit of a method applies to every peer; one of a method and a peer only to both together. */
function laterBudget(
  cooldown: ActiveCooldown | undefined,
  budgets: ReadonlyMap<string, number>,
  methods: readonly string[],
  peers: readonly string[],
  now: number,
): ActiveCooldown | undefined {
  let latest = cooldown;
  for (const method of methods) {
    for (const peer of [undefined, ...peers]) {
      latest = later(latest, budgets.get(budgetKey(method, peer)), now, { kind: "budget", method, peer });
    }
  }
  return latest;
}

function live(untils: ReadonlyMap<string, number> | undefined, now: number): readonly [string, number][] {
  return untils === undefined ? [] : [...untils].filter(([, until]) => until > now);
}

function prune(untils: Map<string, number> | undefined, now: number): boolean {
  if (untils === undefined) return true;
  for (const [key, until] of untils) if (until <= now) untils.delete(key);
  return untils.size === 0;
}
