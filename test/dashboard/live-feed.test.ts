import { createServer } from "node:http";
import { connect } from "node:net";
import { afterEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { deferred } from "../../src/common/deferred.js";
import type { SessionRow } from "../../src/dashboard/frames.js";
import { type Follower, LiveFeed } from "../../src/dashboard/live-feed.js";
import type { Reading, Source } from "../../src/dashboard/source.js";
import { Viewer } from "../../src/dashboard/viewer.js";
import { listen } from "./served.js";

const COUNTS = { total: 0, free: 0, leased: 0, cooling: 0, restricted: 0, dead: 0, disabled: 0, foreign: 0 };

function sessionRow(id: string, reason = ""): SessionRow {
  return {
    id,
    state: "free",
    tags: [],
    availableAt: null,
    reason,
    addedAt: 0,
    lastUsedAt: null,
    restrictedUntil: null,
    isFrozen: false,
    accountId: null,
    expiresAt: null,
    methods: [],
    peers: [],
    holder: null,
    isConnected: false,
    proxy: null,
  };
}

/** A source that the test plays. */
class TestSource implements Source {
  readonly name = "pool";
  readonly management: undefined;
  readonly closing = new AbortController();
  readonly ended: AbortSignal = this.closing.signal;
  sessions: readonly SessionRow[] = [sessionRow("alice")];
  reads = 0;
  isClosed = false;

  read(): Reading {
    this.reads++;
    const status = { ...COUNTS, total: this.sessions.length, waiters: 0, nextAvailableAt: null, leases: 0 };
    return { at: 1, status, sessions: this.sessions, leases: [], runs: [], rejected: [] };
  }

  buckets(): readonly [] {
    return [];
  }

  incidents(): readonly [] {
    return [];
  }

  close(): void {
    this.isClosed = true;
  }
}

function follower(): Follower & { readonly calls: string[] } {
  const calls: string[] = [];
  return {
    calls,
    onMessage: () => void calls.push("message"),
    onTick: () => void calls.push("tick"),
    onEnd: () => void calls.push("end"),
  };
}

afterEach(() => void vi.useRealTimers());

describe("LiveFeed", () => {
  test("without a follower - reads nothing, and has no timer", async () => {
    vi.useFakeTimers();
    const source = new TestSource();
    const feed = new LiveFeed([source]);
    await vi.advanceTimersByTimeAsync(600_000);
    expect({ reads: source.reads, timers: vi.getTimerCount() }).toEqual({ reads: 0, timers: 0 });
    feed.close();
    expect(source.isClosed).toBe(true);
  });

  test("reads once a second for all followers, and stops with the last", async () => {
    vi.useFakeTimers();
    const source = new TestSource();
    const feed = new LiveFeed([source]);
    const [stopOne, stopOther] = [feed.follow(follower()), feed.follow(follower())];
    await vi.advanceTimersByTimeAsync(10_000);
    expect(source.reads).toBe(10);
    stopOne();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(source.reads).toBe(15);
    stopOther();
    await vi.advanceTimersByTimeAsync(600_000);
    expect({ reads: source.reads, timers: vi.getTimerCount() }).toEqual({ reads: 15, timers: 0 });
  });

  test("what has not changed - is no message", async () => {
    const source = new TestSource();
    const feed = new LiveFeed([source]);
    await feed.refresh();
    const { id } = feed.full();
    await feed.refresh();
    expect(feed.full().id).toBe(id);
    expect(feed.changesSince(id)).toEqual([]);
    feed.close();
  });

  test("one row of thousands has changed - is one row of a message", async () => {
    const source = new TestSource();
    source.sessions = Array.from({ length: 5_000 }, (_, index) => sessionRow(`s${index}`));
    const feed = new LiveFeed([source]);
    await feed.refresh();
    const { id } = feed.full();
    source.sessions = source.sessions.map((row) => (row.id === "s7" ? sessionRow("s7", "changed") : row)).slice(0, -1);
    await feed.refresh();
    const [change] = feed.changesSince(id) ?? [];
    expect(JSON.parse(change?.data ?? "")).toMatchObject({
      isFull: false,
      pools: [{ lists: { sessions: { set: [{ id: "s7", reason: "changed" }], gone: ["s4999"] } } }],
    });
    expect(change?.data.length).toBeLessThan(1_000);
    feed.close();
  });

  test("more changes than are kept - needs the whole state", async () => {
    const source = new TestSource();
    const feed = new LiveFeed([source]);
    await feed.refresh();
    const { id } = feed.full();
    for (let number = 0; number < 61; number++) {
      source.sessions = [sessionRow("alice", `${number}`)];
      await feed.refresh();
    }
    expect(feed.changesSince(id)).toBeUndefined();
    feed.close();
  });

  test("a source that fails - is asked again, and warns once", async () => {
    const warning = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    onTestFinished(() => warning.mockRestore());
    const source = new TestSource();
    const feed = new LiveFeed([source]);
    await feed.refresh();
    const { data } = feed.full();
    const failing = vi.spyOn(source, "read").mockImplementation(() => {
      throw new Error("away");
    });
    await feed.refresh();
    await feed.refresh();
    expect(warning).toHaveBeenCalledTimes(1);
    expect(feed.full().data).toContain('"isStale":true');
    expect(JSON.parse(feed.full().data)).toMatchObject({ pools: [{ lists: JSON.parse(data).pools[0].lists }] });
    failing.mockRestore();
    source.sessions = [];
    await feed.refresh();
    expect(feed.full().data).toContain('"total":0');
    feed.close();
  });

  test("the end of the last source - ends the followers, and leaves no timer", async () => {
    vi.useFakeTimers();
    const source = new TestSource();
    const feed = new LiveFeed([source]);
    const one = follower();
    feed.follow(one);
    source.closing.abort();
    await vi.advanceTimersByTimeAsync(0);
    expect(one.calls.at(-1)).toBe("end");
    await vi.advanceTimersByTimeAsync(60_000);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("Viewer", () => {
  test("a connection that takes nothing - has one message waiting at most, and is dropped", async () => {
    const source = new TestSource();
    const feed = new LiveFeed([source], 20);
    onTestFinished(() => feed.close());
    const viewed = deferred<{ buffered(): number; isGone(): boolean }>();
    const server = createServer((_, response) => {
      void new Viewer(feed, response).start({ access: "view", token: null, isStorage: false, pid: 1 }, undefined);
      viewed.resolve({ buffered: () => response.writableLength, isGone: () => response.destroyed });
    });
    const origin = new URL(await listen(server));
    const socket = connect(Number(origin.port), origin.hostname);
    onTestFinished(() => void socket.destroy());
    socket.pause();
    socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    const viewer = await viewed.promise;
    let number = 0;
    const timer = setInterval(() => {
      source.sessions = Array.from({ length: 100 }, (_, index) => sessionRow(`s${index}`, `${number}`.padEnd(12_500)));
      number++;
    }, 20);
    onTestFinished(() => clearInterval(timer));
    await vi.waitFor(() => expect(viewer.buffered()).toBeGreaterThan(16_000), { timeout: 30_000 });
    const before = source.reads;
    await vi.waitFor(() => expect(source.reads).toBeGreaterThan(before + 3), { timeout: 30_000 });
    expect(viewer.buffered()).toBeLessThan(200_000);
    const now = performance.now();
    const later = vi.spyOn(performance, "now").mockImplementation(() => now + 60_000);
    onTestFinished(() => later.mockRestore());
    await vi.waitFor(() => expect(viewer.isGone()).toBe(true), { timeout: 30_000 });
    expect(feed.followerCount).toBe(0);
  });
});
