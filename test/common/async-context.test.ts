import { AsyncLocalStorage } from "node:async_hooks";
import { expect, test } from "vitest";
import type { Timer } from "../../src/common/clock.js";
import { READ } from "../fakes/fake-telegram.js";
import { openPool } from "../fakes/pools.js";
import { settled, VirtualClock } from "../fakes/virtual-clock.js";

const requests = new AsyncLocalStorage<string>();

/** Remembers in whose async context timers were made. */
class WatchedClock extends VirtualClock {
  readonly contexts = new Set<string | undefined>();

  override setTimer(delayMs: number, callback: () => void): Timer {
    this.contexts.add(requests.getStore());
    return super.setTimer(delayMs, callback);
  }
}

test("async context - what outlives a caller is in no caller's context; the work is in its own", async () => {
  const clock = new WatchedClock();
  const made = await requests.run("opening", () => openPool({ clock, sessions: ["a", "b"] }));
  const { pool, telegram } = made;
  const seen: unknown[] = [];
  telegram.onConnect = () => seen.push(["connect", requests.getStore()]);
  for (const name of ["connected", "leased", "released", "cooled", "recovered", "disconnected"] as const) {
    pool.on(name, () => seen.push([name, requests.getStore()]));
  }
  clock.contexts.clear();
  await requests.run("request 1", () =>
    pool.use(async (client, lease) => {
      seen.push(["work", requests.getStore()]);
      await client.call(READ);
      telegram.handle(lease.id).drop();
      await client.call(READ);
      seen.push(["work", requests.getStore()]);
      lease.coolDown(1);
    }),
  );
  await requests.run("request 2", () => clock.advance(600_000));
  await settled();
  const named = seen as [string, string | undefined][];
  expect(new Set(named.map(([name]) => name))).toEqual(
    new Set(["connect", "connected", "leased", "work", "disconnected", "released", "cooled", "recovered"]),
  );
  expect(named.filter(([name, context]) => context !== (name === "work" ? "request 1" : undefined))).toEqual([]);
  expect([...clock.contexts]).toEqual([undefined]);
});
