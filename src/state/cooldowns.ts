/** What of a session is cooling: all of it, one method, or one peer; or a budget for a method, or a method and a peer, is spent. */
export type CooldownScope =
  | { readonly kind: "session" }
  | { readonly kind: "method"; readonly method: string }
  | { readonly kind: "peer"; readonly peer: string }
  | { readonly kind: "budget"; readonly method: string; readonly peer: string | undefined };

/** A cooldown that holds a request back. */
export interface ActiveCooldown {
  readonly scope: CooldownScope;
  readonly until: number;
}

const SESSION: CooldownScope = { kind: "session" };

/** Until when one session, its methods and its peers rest. Every instant only ever moves later. */
export class Cooldowns {
  /** Of all sessions that do not rest: most never did, and there may be very many. MUST NOT be extended. */
  static readonly NONE: Cooldowns = new Cooldowns();

  sessionUntil = 0;
  reason: string | null = null;
  // One entry for each method or peer that rests; what has passed is dropped when a lease ends.
  #methods: Map<string, number> | undefined;
  #peers: Map<string, number> | undefined;
  /** Not durable: a restart forgets what was spent. */
  #budgets: Map<string, number> | undefined;

  /** Whether this moved the instant. */
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

  /** Until when this rests; 0 when it does not. */
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

  /** The latest cooldown or spent budget that a request of this kind has to wait for. */
  blockingCooldown(methods: readonly string[], peers: readonly string[], now: number): ActiveCooldown | undefined {
    const hold = this.blockingTelegramCooldown(methods, peers, now);
    const budgets = this.#budgets;
    return budgets === undefined ? hold : laterBudget(hold, budgets, methods, peers, now);
  }

  /** The same without budgets: what Telegram or the caller has said. */
  blockingTelegramCooldown(
    methods: readonly string[],
    peers: readonly string[],
    now: number,
  ): ActiveCooldown | undefined {
    let hold: ActiveCooldown | undefined;
    if (this.sessionUntil > now) hold = { scope: SESSION, until: this.sessionUntil };
    for (const method of this.#methods === undefined ? [] : methods) {
      hold = later(hold, this.#methods?.get(method), now, { kind: "method", method });
    }
    for (const peer of this.#peers === undefined ? [] : peers) {
      hold = later(hold, this.#peers?.get(peer), now, { kind: "peer", peer });
    }
    return hold;
  }

  /** Whether this method rests. */
  isMethodCooling(method: string, now: number): boolean {
    return (this.#methods?.get(method) ?? 0) > now;
  }

  /** What is still cooling, for the record. */
  entries(now: number): { readonly methods: readonly [string, number][]; readonly peers: readonly [string, number][] } {
    return { methods: live(this.#methods, now), peers: live(this.#peers, now) };
  }

  /** Drops what has passed. */
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
  hold: ActiveCooldown | undefined,
  until: number | undefined,
  now: number,
  scope: CooldownScope,
): ActiveCooldown | undefined {
  if (until === undefined || until <= now || (hold !== undefined && hold.until >= until)) return hold;
  return { scope, until };
}

/** Names of methods have no spaces. */
export function budgetKey(method: string, peer: string | undefined): string {
  return peer === undefined ? method : `${method} ${peer}`;
}

/** A budget of a method concerns every peer; one of a method and a peer only both together. */
function laterBudget(
  hold: ActiveCooldown | undefined,
  budgets: ReadonlyMap<string, number>,
  methods: readonly string[],
  peers: readonly string[],
  now: number,
): ActiveCooldown | undefined {
  let latest = hold;
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
