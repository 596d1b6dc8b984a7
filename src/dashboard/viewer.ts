import type { ServerResponse } from "node:http";
import { inOwnContext } from "../common/own-context.js";
import type { Hello } from "./frames.js";
import type { FeedMessage, Follower, LiveFeed } from "./live-feed.js";

/** Length of what is given to the connection at once, in bytes: what it has not taken is not copied for it. */
const PIECE_LENGTH = 65_536;
/** Time that a connection has to take the last messages. */
const END_WITHIN_MS = 5_000;
/** Longest time for which a connection may take nothing that was sent. */
const MAX_BLOCKED_MS = 20_000;
/** Silence after which something is sent, so that a connection that is gone is noticed. */
const PING_MS = 15_000;
/** Delay that the browser is to keep before it connects again. */
const RETRY_MS = 2_000;

/**
 * One page that looks: a stream of Server-Sent Events (https://html.spec.whatwg.org/multipage/server-sent-events.html). What
 * a slow connection misses it gets together, as soon as it has taken what it was sent before; one that takes nothing is
 * dropped.
 */
export class Viewer implements Follower {
  readonly #feed: LiveFeed;
  readonly #response: ServerResponse;
  #stop: () => void = () => {};
  /** Last message that was sent. */
  #lastId: string | undefined;
  /** Since when the connection has taken nothing. */
  #blockedAt: number | undefined;
  #sentAt = performance.now();
  /** What is still to be given to the connection. */
  #rest: Buffer[] = [];
  #isEnding = false;
  #isOver = false;

  constructor(feed: LiveFeed, response: ServerResponse) {
    this.#feed = feed;
    this.#response = response;
  }

  /** Sends what the page needs to begin, the whole state or what it has missed since `lastId`, and follows the feed. */
  async start(hello: Hello, lastId: string | undefined): Promise<void> {
    const response = this.#response;
    this.#lastId = lastId;
    response.on("drain", () => this.#onDrain());
    response.on("close", () => this.#end());
    response.on("error", () => this.#end());
    this.#write(Buffer.from(`retry: ${RETRY_MS}\nevent: hello\ndata: ${JSON.stringify(hello)}\n\n`));
    await this.#feed.refresh();
    if (this.#isOver) return;
    if (this.#feed.isEnded) {
      this.#sendMissing();
      this.onEnd();
      return;
    }
    this.#stop = this.#feed.follow(this);
    this.#sendMissing();
  }

  onMessage(): void {
    if (this.#blockedAt === undefined && !this.#isEnding) this.#sendMissing();
  }

  onTick(): void {
    const now = performance.now();
    if (this.#blockedAt !== undefined && now - this.#blockedAt > MAX_BLOCKED_MS) this.#drop();
    else if (this.#blockedAt === undefined && now - this.#sentAt > PING_MS)
      this.#write(Buffer.from(": still here\n\n"));
  }

  onEnd(): void {
    if (this.#isOver || this.#isEnding) return;
    this.#sendMissing();
    this.#isEnding = true;
    this.#write(Buffer.from("event: end\ndata: {}\n\n"));
    const timer = inOwnContext(() => setTimeout(() => this.#response.destroy(), END_WITHIN_MS).unref());
    this.#response.once("close", () => clearTimeout(timer));
  }

  /** Sends the changes that are missing, or the whole state where that is shorter. */
  #sendMissing(): void {
    const changes = this.#feed.changesSince(this.#lastId);
    const isFull = changes === undefined || (changes.length > 1 && this.#isLong(changes));
    for (const message of isFull ? [this.#feed.full()] : changes) {
      this.#lastId = message.id;
      this.#write(message.bytes);
    }
  }

  #isLong(changes: readonly FeedMessage[]): boolean {
    return changes.reduce((sum, { data }) => sum + data.length, 0) > this.#feed.full().data.length;
  }

  #write(bytes: Buffer): void {
    this.#rest.push(bytes);
    this.#flush();
  }

  /** Gives the connection one piece after the other, each when it has taken the one before. */
  #flush(): void {
    while (!this.#isOver && this.#blockedAt === undefined) {
      const [next] = this.#rest;
      if (next === undefined) break;
      const isLast = next.length <= PIECE_LENGTH;
      this.#rest.splice(0, 1, ...(isLast ? [] : [next.subarray(PIECE_LENGTH)]));
      this.#sentAt = performance.now();
      if (!this.#response.write(next.subarray(0, PIECE_LENGTH))) this.#blockedAt = this.#sentAt;
    }
    if (!this.#isEnding || this.#isOver || this.#rest.length > 0) return;
    this.#response.end();
    this.#end();
  }

  #onDrain(): void {
    this.#blockedAt = undefined;
    this.#flush();
    if (this.#blockedAt === undefined && !this.#isOver && !this.#isEnding) this.#sendMissing();
  }

  /** A connection that takes nothing would not end by itself either. */
  #drop(): void {
    this.#response.destroy();
    this.#end();
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#rest = [];
    this.#stop();
  }
}
