import { expect, test, vi } from "vitest";
import { FakeTelegram, READ } from "../fakes/fake-telegram.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { openPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { settled, VirtualClock } from "../fakes/virtual-clock.js";

/** A second copy of the package in this process, as two versions in one dependency tree are. */
async function secondCopy(): Promise<typeof import("../../src/index.js")> {
  vi.doUnmock("../../src/session-pool.js");
  vi.resetModules();
  return import("../../src/index.js");
}

test.each([true, false])(
  "two copies of the package, a storage with shared: %s - one client at a time",
  async (shared) => {
    const [storage, clock] = [new FaultyStorage(), new VirtualClock()];
    storage.shared = shared;
    const telegram = new FakeTelegram(clock);
    const one = await openPool({ storage, clock, telegram, sessions: ["a"], idleTimeoutMs: 0 });
    const copy = await secondCopy();
    expect(copy.SessionPool).not.toBe(one.pool.constructor);
    const two = await copy.SessionPool.open({ client: telegram, storage, clock, idleTimeoutMs: 0 });
    await two.add("a", sessionString("a"));
    const lease = await one.pool.acquire({ id: "a" });
    await settled();
    const waiting = watch(two.acquire({ id: "a" }));
    await settled();
    expect({ state: two.get("a")?.state, waiting: waiting.state }).toEqual({ state: "foreign", waiting: "pending" });
    await lease.client.call(READ);
    lease.release();
    await clock.advance(60_000);
    expect(waiting.state).toBe("resolved");
    expect(one.pool.get("a")?.state).toBe("foreign");
    waiting.value?.release();
    await settled();
    await two.close();
    expect(storage.isClosed).toBe(false);
    await clock.advance(60_000);
    expect(await one.pool.use((client) => client.call(READ))).toBe(`${READ} by a`);
    expect(telegram.violations).toEqual([]);
  },
);
