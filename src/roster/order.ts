import { type Line, RandomLine, RankedLine } from "./line.js";
import { RestedQueue } from "./rested-queue.js";
import { IN_ENTRIES, type RosterEntry } from "./roster-entry.js";

/** What decides who is next among the sessions that can serve. */
export interface Order {
  /** A line for all of them. */
  line(): Line;
  /** A line for some of them. */
  partialLine(): Line;
  /** Where an entry belongs that becomes able to serve. */
  rank(entry: RosterEntry): number;
  leased(entry: RosterEntry): void;
  /** Whether this moves the entry. */
  setConnected(entry: RosterEntry, isConnected: boolean): boolean;
}

abstract class RankedOrder implements Order {
  line(): Line {
    return new RankedLine(IN_ENTRIES);
  }

  partialLine(): Line {
    return new RankedLine();
  }

  abstract rank(entry: RosterEntry): number;

  leased(_entry: RosterEntry): void {}

  setConnected(_entry: RosterEntry, _isConnected: boolean): boolean {
    return false;
  }
}

/** The longest rested first. */
export class SpreadOrder extends RankedOrder {
  override line(): Line {
    return new RestedQueue();
  }

  rank(entry: RosterEntry): number {
    return entry.usedOrder;
  }
}

/** Lower than every order of use, also negated. */
const BEFORE_ALL = -(2 ** 52);

/**
 * The connected first, of those the latest used, so that the others fall idle; then the longest rested.
 */
export class WarmOrder extends RankedOrder {
  readonly #connected = new WeakSet<RosterEntry>();

  rank(entry: RosterEntry): number {
    return this.#connected.has(entry) ? BEFORE_ALL - entry.usedOrder : entry.usedOrder;
  }

  override setConnected(entry: RosterEntry, isConnected: boolean): boolean {
    if (this.#connected.has(entry) === isConnected) return false;
    if (isConnected) this.#connected.add(entry);
    else this.#connected.delete(entry);
    return true;
  }
}

/** Any, each as likely. */
export class RandomOrder extends RankedOrder {
  readonly #draw: (count: number) => number;

  /** `random` gives numbers from 0 up to 1; any other counts as 0. */
  constructor(random: () => number) {
    super();
    this.#draw = (count) => {
      const drawn = Math.floor(random() * count);
      return drawn >= 0 && drawn < count ? drawn : 0;
    };
  }

  override line(): Line {
    return new RandomLine(this.#draw);
  }

  override partialLine(): Line {
    return new RandomLine(this.#draw);
  }

  rank(): number {
    return 0;
  }
}

/** By the ranks of somebody else: the lowest first, one without a number last. */
export class OwnOrder extends RankedOrder {
  readonly #rank: (entry: RosterEntry) => number;
  readonly #leased: (entry: RosterEntry) => void;

  constructor(rank: (entry: RosterEntry) => number, leased: (entry: RosterEntry) => void) {
    super();
    this.#rank = rank;
    this.#leased = leased;
  }

  rank(entry: RosterEntry): number {
    const rank = this.#rank(entry);
    return Number.isNaN(rank) ? Number.POSITIVE_INFINITY : rank;
  }

  override leased(entry: RosterEntry): void {
    this.#leased(entry);
  }
}

/** A lower weight would leave the numbers. */
const LEAST_WEIGHT = 1e-9;

/** What one session has had of its share. */
interface Share {
  /** Where its next use begins, in uses per weight. */
  start: number;
  isUsed: boolean;
}

/**
 * Each in proportion to its weight, evenly spread: start-time fair queueing (Goyal, Vin and Cheng 1996). A use moves a
 * session on by 1 / weight; who is furthest behind is next; who was away begins where the others are.
 *
 * Not by chance: two draws in a row of one account are what Telegram's limits punish.
 */
export class WeightedOrder extends RankedOrder {
  readonly #weight: (entry: RosterEntry) => number;
  readonly #shares = new WeakMap<RosterEntry, Share>();
  #reached = 0;

  constructor(weight: (entry: RosterEntry) => number) {
    super();
    this.#weight = weight;
  }

  rank(entry: RosterEntry): number {
    const weight = this.#weight(entry);
    if (!(weight > 0 && weight < Number.POSITIVE_INFINITY)) return Number.POSITIVE_INFINITY;
    const { start, isUsed } = this.#shares.get(entry) ?? { start: 0, isUsed: false };
    const next = Math.max(this.#reached, isUsed ? start + 1 / Math.max(weight, LEAST_WEIGHT) : start);
    this.#shares.set(entry, { start: next, isUsed: false });
    return next;
  }

  override leased(entry: RosterEntry): void {
    const share = this.#shares.get(entry);
    if (share === undefined) return;
    share.isUsed = true;
    this.#reached = Math.max(this.#reached, share.start);
  }
}
