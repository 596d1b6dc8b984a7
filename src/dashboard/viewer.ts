import type { ServerResponse } from "node:http";
import type { Hello } from "./frames.js";
import type { FeedMessage, Follower, LiveFeed } from "./live-feed.js";

/** Longest time for which a connection may take nothing that was sent. */
const MAX_BLOCKED_MS = 20_000;
/** Silence after which something is sent, so that a connection that is gone is noticed. */
const PING_MS = 15_000;
/** Delay that the browser is to keep before it connects again. */
const RETRY_MS = 2_000;

/**
 * One page that looks: a stream of Server-Sent Events (https://html.spec.whatwg.org/multipage/server-sent-events.html). At
 * most one message waits in its buffer: what a slow connection misses it gets together, as soon as it has taken the last
 * one; one that takes nothing is dropped.
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
    this.#write(`retry: ${RETRY_MS}\nevent: hello\ndata: ${JSON.stringify(hello)}\n\n`);
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
    if (this.#blockedAt === undefined) this.#sendMissing();
  }

  onTick(): void {
    const now = performance.now();
    if (this.#blockedAt !== undefined && now - this.#blockedAt > MAX_BLOCKED_MS) this.#drop();
    else if (this.#blockedAt === undefined && now - this.#sentAt > PING_MS) this.#write(": still here\n\n");
  }

  onEnd(): void {
    if (this.#isOver) return;
    this.#write("event: end\ndata: {}\n\n");
    this.#response.end();
    if (this.#blockedAt !== undefined) this.#drop();
    this.#end();
  }

  /** Sends the changes that are missing, or the whole state where that is shorter. */
  #sendMissing(): void {
    const changes = this.#feed.changesSince(this.#lastId);
    const isFull = changes === undefined || (changes.length > 1 && this.#isLong(changes));
    for (const { id, data } of isFull ? [this.#feed.full()] : changes) {
      this.#write(`id: ${id}\nevent: state\ndata: ${data}\n\n`);
      this.#lastId = id;
    }
  }

  #isLong(changes: readonly FeedMessage[]): boolean {
    return changes.reduce((sum, { data }) => sum + data.length, 0) > this.#feed.full().data.length;
  }

  #write(text: string): void {
    if (this.#isOver) return;
    this.#sentAt = performance.now();
    if (!this.#response.write(text)) this.#blockedAt ??= performance.now();
  }

  #onDrain(): void {
    this.#blockedAt = undefined;
    if (!this.#isOver) this.#sendMissing();
  }

  /** A connection that takes nothing would not end by itself either. */
  #drop(): void {
    this.#response.destroy();
    this.#end();
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stop();
  }
}
