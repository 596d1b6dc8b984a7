import { catchUserErrors } from "../common/process-warning.js";
import type { SessionSelection } from "../options/selection-strategy.js";
import type { SessionInfo } from "../session-info.js";
import { ENTRY_POSITIONS, type SessionEntry } from "./session-entry.js";
import { LruQueue, PrioritySessionQueue, RandomSessionBag, type SessionQueue } from "./session-queue.js";

/** The order in which available sessions are selected. */
export interface SelectionOrder {
  /** Creates the queue of all available sessions. */
  createQueue(): SessionQueue;
  /** Creates a queue for some of the available sessions. */
  createIndexQueue(): SessionQueue;
  /** The rank at which an entry is queued when it becomes available. @default its order of use */
  rank?(entry: SessionEntry): number;
  /** Called when a session has been leased. */
  onLeased?(entry: SessionEntry): void;
  /** Called when the session's client has connected or disconnected. Returns whether that changes its rank. */
  setConnected?(entry: SessionEntry, isConnected: boolean): boolean;
}

/** Creates the order for the option `selection`. */
export function createSelectionOrder(
  selection: SessionSelection,
  info: (entry: SessionEntry) => SessionInfo,
  failed: (message: string) => void,
): SelectionOrder {
  if (selection === "spread") return new LruOrder();
  if (selection === "warm") return new ConnectedFirstOrder();
  if (selection === "random") return new RandomOrder(Math.random);
  const safely = catchUserErrors("selection", failed);
  if ("random" in selection) {
    const { random } = selection;
    return new RandomOrder(typeof random === "number" ? seededRandom(random) : () => safely(random, 0));
  }
  if ("weight" in selection) {
    return new WeightedOrder((entry) => safely(() => selection.weight(info(entry)), Number.NaN));
  }
  return new CustomOrder(
    (entry) => safely(() => selection.rank(info(entry)), Number.NaN),
    (entry) => safely(() => selection.leased(info(entry)), undefined),
  );
}

/** Least recently used first. */
export class LruOrder implements SelectionOrder {
  createQueue(): SessionQueue {
    return new LruQueue();
  }

  createIndexQueue(): SessionQueue {
    return new PrioritySessionQueue();
  }
}

/** By a rank that is assigned when a session becomes available, the lowest first. */
abstract class RankedOrder implements SelectionOrder {
  createQueue(): SessionQueue {
    return new PrioritySessionQueue(ENTRY_POSITIONS);
  }

  createIndexQueue(): SessionQueue {
    return new PrioritySessionQueue();
  }

  abstract rank(entry: SessionEntry): number;
}

/** Lower than every order of use, even a negated one. */
const MIN_RANK = -(2 ** 52);

/**
 * Connected sessions first, the most recently used of them first, so that the others become idle and disconnect; then the
 * least recently used.
 */
export class ConnectedFirstOrder extends RankedOrder {
  readonly #connected = new WeakSet<SessionEntry>();

  rank(entry: SessionEntry): number {
    return this.#connected.has(entry) ? MIN_RANK - entry.lastUsedSequence : entry.lastUsedSequence;
  }

  setConnected(entry: SessionEntry, isConnected: boolean): boolean {
    if (this.#connected.has(entry) === isConnected) return false;
    if (isConnected) this.#connected.add(entry);
    else this.#connected.delete(entry);
    return true;
  }
}

/** Uniformly random. */
export class RandomOrder implements SelectionOrder {
  readonly #draw: (count: number) => number;

  /** @param random returns a number from 0 up to, but not including, 1; anything else counts as 0 */
  constructor(random: () => number) {
    this.#draw = (count) => {
      const drawn = Math.floor(random() * count);
      return drawn >= 0 && drawn < count ? drawn : 0;
    };
  }

  createQueue(): SessionQueue {
    return new RandomSessionBag(this.#draw);
  }

  createIndexQueue(): SessionQueue {
    return new RandomSessionBag(this.#draw);
  }

  rank(): number {
    return 0;
  }
}

/** By a user's ranks, the lowest first; sessions without a number as their rank come last. */
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

  onLeased(entry: SessionEntry): void {
    this.#leased(entry);
  }
}

/** Lower weights would overflow the order's virtual time. */
const MIN_WEIGHT = 1e-9;

/** The share of one session in start-time fair queueing. */
interface FairShare {
  /** Virtual time at which the session's next use starts, in uses per weight. */
  start: number;
  isUsed: boolean;
}

/**
 * In proportion to weights, evenly spread: start-time fair queueing (Goyal, Vin and Cheng 1996). A use advances a session
 * by 1 / weight, and the session that is furthest behind is next. A session that was unavailable resumes at the virtual
 * time of the others.
 *
 * Not random: Telegram's limits punish two uses of one account in quick succession.
 */
export class WeightedOrder extends RankedOrder {
  readonly #weight: (entry: SessionEntry) => number;
  readonly #shares = new WeakMap<SessionEntry, FairShare>();
  #virtualTime = 0;

  constructor(weight: (entry: SessionEntry) => number) {
    super();
    this.#weight = weight;
  }

  rank(entry: SessionEntry): number {
    const weight = this.#weight(entry);
    if (!(weight > 0 && weight < Number.POSITIVE_INFINITY)) return Number.POSITIVE_INFINITY;
    const { start, isUsed } = this.#shares.get(entry) ?? { start: 0, isUsed: false };
    const next = Math.max(this.#virtualTime, isUsed ? start + 1 / Math.max(weight, MIN_WEIGHT) : start);
    this.#shares.set(entry, { start: next, isUsed: false });
    return next;
  }

  onLeased(entry: SessionEntry): void {
    const share = this.#shares.get(entry);
    if (share === undefined) return;
    share.isUsed = true;
    this.#virtualTime = Math.max(this.#virtualTime, share.start);
  }
}

/** A generator of numbers from 0 to 1 that is determined by its seed: Mulberry32 (Tommy Ettinger, 2017). */
function seededRandom(seed: number): () => number {
  const bits = new Uint32Array(new Float64Array([seed]).buffer);
  let state = (bits[0] ?? 0) ^ Math.imul(bits[1] ?? 0, 0x9e3779b1);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
