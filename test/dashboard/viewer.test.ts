import { EventEmitter } from "node:events";
import type { ServerResponse } from "node:http";
import { afterEach, describe, expect, test, vi } from "vitest";
import { LiveFeed } from "../../src/dashboard/live-feed.js";
import { PoolSource } from "../../src/dashboard/pool-source.js";
import { Viewer } from "../../src/dashboard/viewer.js";
import { openPool } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";

const HELLO = { access: "view", token: null, isStorage: false, pid: 1 } as const;
const EMOJI = "😀";

/** A connection that takes what the test lets it take. */
class SlowResponse extends EventEmitter {
  readonly taken: Buffer[] = [];
  waiting = 0;
  destroyed = false;
  writableEnded = false;

  write(bytes: Buffer): boolean {
    this.taken.push(bytes);
    this.waiting += bytes.length;
    return false;
  }

  end(): void {
    this.writableEnded = true;
  }

  destroy(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.emit("close");
  }

  take(): void {
    this.waiting = 0;
    this.emit("drain");
  }

  get text(): string {
    return Buffer.concat(this.taken).toString();
  }
}

async function view(count: number) {
  const { pool } = await openPool();
  const tags = ["a tag that is long ".repeat(6)];
  for (let index = 0; index < count; index++) await pool.add(`${EMOJI}${index}`, sessionString(`${index}`), { tags });
  const feed = new LiveFeed([new PoolSource("pool", pool)]);
  const response = new SlowResponse();
  await new Viewer(feed, response as unknown as ServerResponse).start(HELLO, undefined);
  return { pool, feed, response };
}

afterEach(() => void vi.useRealTimers());

describe("a viewer whose connection is slow", () => {
  test("and takes a piece every ten seconds - is not dropped, and gets everything", async () => {
    vi.useFakeTimers();
    const { feed, response } = await view(1_500);
    let mostWaiting = 0;
    for (let piece = 0; piece < 12; piece++) {
      mostWaiting = Math.max(mostWaiting, response.waiting);
      response.take();
      await vi.advanceTimersByTimeAsync(10_000);
    }
    expect({ isDropped: response.destroyed, isBounded: mostWaiting <= 65_536 }).toEqual({
      isDropped: false,
      isBounded: true,
    });
    const [, data = ""] = /event: state\ndata: (.*)\n\n/.exec(response.text) ?? [];
    expect(data.length).toBeGreaterThan(200_000);
    expect(data).toBe(feed.full().data);
    feed.close();
  });

  test("and takes nothing - is dropped after twenty seconds", async () => {
    vi.useFakeTimers();
    const { feed, response } = await view(1);
    await vi.advanceTimersByTimeAsync(19_000);
    expect(response.destroyed).toBe(false);
    await vi.advanceTimersByTimeAsync(3_000);
    expect({ isDropped: response.destroyed, followers: feed.followerCount }).toEqual({ isDropped: true, followers: 0 });
    feed.close();
  });

  test("when the dashboard ends - is dropped after five seconds, and leaves no timer", async () => {
    vi.useFakeTimers();
    const { feed, response } = await view(1);
    feed.close();
    expect(response.destroyed).toBe(false);
    await vi.advanceTimersByTimeAsync(5_000);
    expect({ isDropped: response.destroyed, timers: vi.getTimerCount() }).toEqual({ isDropped: true, timers: 0 });
  });

  test("when the pool ends, and goes on taking - gets everything, and the end", async () => {
    const { pool, feed, response } = await view(500);
    const ended = vi.spyOn(response, "end");
    await pool.close();
    await feed.refresh();
    for (let piece = 0; piece < 20 && !response.writableEnded; piece++) response.take();
    expect(ended).toHaveBeenCalledTimes(1);
    expect(response.destroyed).toBe(false);
    expect(response.text).toContain('"isEnded":true');
    expect(response.text.endsWith("event: end\ndata: {}\n\n")).toBe(true);
    response.destroy();
  });
});
