import { randomUUID } from "node:crypto";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { inOwnContext } from "../common/own-context.js";
import { textOf, warn } from "../common/process-warning.js";
import { PoolState } from "./pool-state.js";
import type { Source } from "./source.js";

/** Time between two readings while somebody looks. */
const INTERVAL_MS = 1_000;
/** Share of the time that readings may take: with very many sessions they become rarer. */
const MAX_SHARE = 1 / 50;
/** Longest time between two readings: a storage may not answer for a minute. */
const MAX_INTERVAL_MS = 20_000;
/** Time for which the state is kept when nobody looks, for pages that come back. */
const KEPT_MS = 60_000;
/** Maximum of the changes that are kept for pages that come back: their number, and their length together. */
const MAX_CHANGES = 60;
const MAX_CHANGES_LENGTH = 4_000_000;

/** Time that readings for single answers may take in one second, in milliseconds; those after that get what was read last. */
const MAX_SNAPSHOT_MS = 200;
const SECOND_MS = 1_000;

const compress = promisify(gzip);

/** One message of the feed. */
export class FeedMessage {
  /** Identifies the state that a page has after it. */
  readonly id: string;
  readonly data: string;
  #bytes: Buffer | undefined;
  #compressed: Promise<Buffer> | undefined;

  constructor(id: string, data: string) {
    this.id = id;
    this.data = data;
  }

  /** As an event of a stream; made once for all pages. */
  get bytes(): Buffer {
    this.#bytes ??= Buffer.from(`id: ${this.id}\nevent: state\ndata: ${this.data}\n\n`);
    return this.#bytes;
  }

  /** Its JSON in gzip; made once for all who ask. */
  compressed(): Promise<Buffer> {
    this.#compressed ??= compress(this.data);
    return this.#compressed;
  }
}

/** A page that follows the feed. */
export interface Follower {
  /** There is a message. */
  onMessage(): void;
  /** Every pool has been closed, and the last message is out. */
  onEnd(): void;
  /** Called with each reading, whether or not there is a message. */
  onTick(): void;
}

/**
 * Reads the pools once a second while somebody looks, and keeps what changes as messages, each made once for all pages. With
 * nobody looking nothing runs.
 */
export class LiveFeed {
  readonly #pools: readonly PoolState[];
  readonly #intervalMs: number;
  readonly #followers = new Set<Follower>();
  /** Differs after each start of the feed: only then numbers can be compared. */
  #run = "";
  /** Number of the last change. */
  #number = 0;
  /** The last ones, numbered to `#number`. */
  #changes: FeedMessage[] = [];
  #full: FeedMessage | undefined;
  #timer: NodeJS.Timeout | undefined;
  #reading: Promise<void> | undefined;
  #tookMs = 0;
  /** Readings for single answers: since when they are counted, and the time that they have taken. */
  #snapshots: { readonly since: number; tookMs: number } = { since: Number.NEGATIVE_INFINITY, tookMs: 0 };
  #hasFailed = false;
  #isClosed = false;

  constructor(sources: readonly Source[], intervalMs: number = INTERVAL_MS) {
    this.#pools = sources.map((source) => new PoolState(source));
    this.#intervalMs = intervalMs;
    for (const { ended } of sources) ended?.addEventListener("abort", () => this.#onPoolEnded(), { once: true });
  }

  /** Whether every pool has been closed. */
  get isEnded(): boolean {
    return this.#isClosed || this.#pools.every(({ source }) => source.ended?.aborted === true);
  }

  get followerCount(): number {
    return this.#followers.size;
  }

  /** Reads the pools now, unless that is under way. */
  refresh(): Promise<void> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
      if (this.#followers.size === 0) this.#rest();
    });
    return this.#reading;
  }

  /**
   * Resolves with the whole state, read now; where many ask, with what was read within the last second. Then those who ask
   * take a fifth of the time at most.
   */
  async snapshot(): Promise<FeedMessage> {
    const startedAt = performance.now();
    if (startedAt - this.#snapshots.since >= SECOND_MS) this.#snapshots = { since: startedAt, tookMs: 0 };
    const { tookMs } = this.#snapshots;
    if (tookMs >= MAX_SNAPSHOT_MS && this.#run !== "") return this.full();
    await this.refresh();
    const message = this.full();
    this.#snapshots.tookMs += performance.now() - startedAt;
    return message;
  }

  /** The whole state, as it was read last. */
  full(): FeedMessage {
    this.#full ??= this.#message(
      true,
      this.#pools.map((pool) => pool.full()),
    );
    return this.#full;
  }

  /** The changes since a message: `undefined` if they are not known, and the page needs the whole state. */
  changesSince(id: string | undefined): readonly FeedMessage[] | undefined {
    const [run, number] = (id ?? "").split(".");
    const since = Number(number);
    if (run !== this.#run || !Number.isInteger(since) || since > this.#number) return undefined;
    const missing = this.#number - since;
    return missing <= this.#changes.length ? this.#changes.slice(this.#changes.length - missing) : undefined;
  }

  /** Follows the feed; reading begins with the first one. Returns how to leave. */
  follow(follower: Follower): () => void {
    this.#followers.add(follower);
    this.#schedule();
    return () => {
      if (this.#followers.delete(follower) && this.#followers.size === 0) this.#rest();
    };
  }

  /** Ends the feed, and with it the connections of its followers. */
  close(): void {
    this.#isClosed = true;
    this.#endFollowers();
    this.#forget();
    for (const { source } of this.#pools) source.close();
  }

  async #read(): Promise<void> {
    if (this.#run === "") this.#run = randomUUID();
    const startedAt = performance.now();
    const frames: string[] = [];
    for (const pool of this.#pools) {
      try {
        const frame = await pool.update();
        if (frame !== undefined) frames.push(frame);
      } catch (error) {
        this.#report(error);
        const frame = pool.fail();
        if (frame !== undefined) frames.push(frame);
      }
    }
    this.#tookMs = performance.now() - startedAt;
    if (frames.length > 0) this.#addChange(frames);
  }

  #addChange(frames: readonly string[]): void {
    this.#full = undefined;
    this.#number++;
    this.#changes.push(this.#message(false, frames));
    let length = this.#changes.reduce((sum, change) => sum + change.data.length, 0);
    while (this.#changes.length > MAX_CHANGES || (length > MAX_CHANGES_LENGTH && this.#changes.length > 1)) {
      length -= this.#changes.shift()?.data.length ?? 0;
    }
    for (const follower of [...this.#followers]) follower.onMessage();
  }

  #schedule(): void {
    if (this.#followers.size === 0 || this.isEnded) return;
    this.#cancel();
    const delayMs = Math.max(this.#intervalMs, Math.min(this.#tookMs / MAX_SHARE, MAX_INTERVAL_MS));
    this.#timer = setTimer(delayMs, () => void this.#tick());
  }

  async #tick(): Promise<void> {
    await this.refresh();
    for (const follower of [...this.#followers]) follower.onTick();
    this.#schedule();
  }

  /** Shows the end to those who look, and lets them go when no pool is left. */
  #onPoolEnded(): void {
    if (this.#isClosed) return;
    void this.refresh().then(() => {
      if (!this.isEnded || this.#isClosed) return;
      this.#endFollowers();
      this.#cancel();
    });
  }

  #endFollowers(): void {
    for (const follower of [...this.#followers]) follower.onEnd();
    this.#followers.clear();
    this.#cancel();
  }

  /** Nobody looks: nothing is read, and the state is kept for a while only. */
  #rest(): void {
    this.#cancel();
    if (this.#isClosed) this.#forget();
    else this.#timer = setTimer(KEPT_MS, () => this.#forget());
  }

  #cancel(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Nobody has looked for a while: frees the memory. */
  #forget(): void {
    this.#cancel();
    if (this.#reading !== undefined) return;
    this.#run = "";
    this.#number = 0;
    this.#changes = [];
    this.#full = undefined;
    for (const pool of this.#pools) pool.forget();
  }

  /** A storage may be away for a while: the page shows what was read last. */
  #report(error: unknown): void {
    if (!this.#hasFailed)
      warn(`The dashboard could not read a pool; further failures are not reported: ${textOf(error)}`);
    this.#hasFailed = true;
  }

  /** A message that leads to the state of the last change. */
  #message(isFull: boolean, pools: readonly string[]): FeedMessage {
    const id = `${this.#run}.${this.#number}`;
    const names = JSON.stringify(this.#pools.map(({ source }) => source.name));
    return new FeedMessage(id, `{"isFull":${isFull},"id":"${id}","names":${names},"pools":[${pools.join(",")}]}`);
  }
}

/** Never keeps the process alive, nor the store of the request in which it is set. */
function setTimer(delayMs: number, callback: () => void): NodeJS.Timeout {
  return inOwnContext(() => setTimeout(callback, delayMs).unref());
}
