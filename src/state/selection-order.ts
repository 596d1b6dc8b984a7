import { catchUserErrors, type SafeCall, type UserCallbackContext } from "../common/user-callback.js";
import type { SelectionStrategy, SessionSelection } from "../options/selection-strategy.js";
import type { SessionInfo } from "../options/session-info.js";
import { LruQueue } from "./lru-queue.js";
import { IN_ENTRIES, type SessionEntry } from "./session-entry.js";
import { PrioritySessionQueue, RandomSessionBag, type SessionQueue } from "./session-queue.js";

/** What decides who is next among the sessions that can serve. */
export interface SelectionOrder {
  /** A line for all of them. */
  queue(): SessionQueue;
  /** A line for some of them. */
  indexQueue(): SessionQueue;
  /** Where an entry belongs that becomes able to serve. */
  rank(entry: SessionEntry): number;
  leased(entry: SessionEntry): void;
  /** Whether this moves the entry. */
  setConnected(entry: SessionEntry, isConnected: boolean): boolean;
}

abstract class RankedOrder implements SelectionOrder {
  queue(): SessionQueue {
    return new PrioritySessionQueue(IN_ENTRIES);
  }

  indexQueue(): SessionQueue {
    return new PrioritySessionQueue();
  }

  abstract rank(entry: SessionEntry): number;

  leased(_entry: SessionEntry): void {}

  setConnected(_entry: SessionEntry, _isConnected: boolean): boolean {
    return false;
  }
}

/** The longest rested first. */
export class LruOrder extends RankedOrder {
  override queue(): SessionQueue {
    return new LruQueue();
  }

  rank(entry: SessionEntry): number {
    return entry.lastUsedSequence;
  }
}

/** Lower than every order of use, also negated. */
const MIN_RANK = -(2 ** 52);

/**
 * The connected first, of those the latest used, so that the others fall idle; then the longest rested.
 */
export class ConnectedFirstOrder extends RankedOrder {
  readonly #connected = new WeakSet<SessionEntry>();

  rank(entry: SessionEntry): number {
    return this.#connected.has(entry) ? MIN_RANK - entry.lastUsedSequence : entry.lastUsedSequence;
  }

  override setConnected(entry: SessionEntry, isConnected: boolean): boolean {
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

  override queue(): SessionQueue {
    return new RandomSessionBag(this.#draw);
  }

  override indexQueue(): SessionQueue {
    return new RandomSessionBag(this.#draw);
  }

  rank(): number {
    return 0;
  }
}

/** By the ranks of somebody else: the lowest first, one without a number last. */
export class CustomOrder extends RankedOrder {
  readonly #rank: (entry: SessionEntry) => number;
  readonly #leased: (entry: SessionEntry) => void;

  constructor(rank: (entry: SessionEntry) => number, leased: (entry: SessionEntry) => void) {
    super();
    this.#rank = rank;
    this.#leased = leased;
  }

  rank(entry: SessionEntry): number {
    const rank = this.#rank(entry);
    return Number.isNaN(rank) ? Number.POSITIVE_INFINITY : rank;
  }

  override leased(entry: SessionEntry): void {
    this.#leased(entry);
  }
}

/** A lower weight would leave the numbers. */
const LEAST_WEIGHT = 1e-9;

/** What one session has had of its share. */
interface FairShare {
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
  readonly #weight: (entry: SessionEntry) => number;
  readonly #shares = new WeakMap<SessionEntry, FairShare>();
  #reached = 0;

  constructor(weight: (entry: SessionEntry) => number) {
    super();
    this.#weight = weight;
  }

  rank(entry: SessionEntry): number {
    const weight = this.#weight(entry);
    if (!(weight > 0 && weight < Number.POSITIVE_INFINITY)) return Number.POSITIVE_INFINITY;
    const { start, isUsed } = this.#shares.get(entry) ?? { start: 0, isUsed: false };
    const next = Math.max(this.#reached, isUsed ? start + 1 / Math.max(weight, LEAST_WEIGHT) : start);
    this.#shares.set(entry, { start: next, isUsed: false });
    return next;
  }

  override leased(entry: SessionEntry): void {
    const share = this.#shares.get(entry);
    if (share === undefined) return;
    share.isUsed = true;
    this.#reached = Math.max(this.#reached, share.start);
  }
}

/** The order behind the option `selection`. */
export function createSelectionOrder(
  selection: SessionSelection,
  { info, failed }: UserCallbackContext,
): SelectionOrder {
  if (selection === "spread") return new LruOrder();
  if (selection === "warm") return new ConnectedFirstOrder();
  if (selection === "random") return new RandomOrder(Math.random);
  const safely = catchUserErrors("selection", failed);
  if ("random" in selection) {
    const { random } = selection;
    return new RandomOrder(typeof random === "number" ? seeded(random) : () => safely(random, 0));
  }
  if ("weight" in selection) {
    return new WeightedOrder((entry) => safely(() => selection.weight(info(entry.id)), Number.NaN));
  }
  return customOrder(selection, info, safely);
}

function customOrder(strategy: SelectionStrategy, info: (id: string) => SessionInfo, safely: SafeCall): SelectionOrder {
  const rank = ({ id }: SessionEntry) => safely(() => strategy.rank(info(id)), Number.NaN);
  return new CustomOrder(rank, ({ id }) => safely(() => strategy.leased(info(id)), undefined));
}

/** Numbers from 0 up to 1, the same for the same seed: Mulberry32 (Tommy Ettinger, 2017). */
function seeded(seed: number): () => number {
  const bits = new Uint32Array(new Float64Array([seed]).buffer);
  let state = (bits[0] ?? 0) ^ Math.imul(bits[1] ?? 0, 0x9e3779b1);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
