import { expect, onTestFinished } from "vitest";
import { memory } from "../../src/storage/memory.js";
import type { SessionStorage } from "../../src/storage/storage.js";
import { AskableTelegram, FakeTelegram } from "./fake-telegram.js";
import { FaultyStorage } from "./faulty-storage.js";
import { openPool, type TestPool, type TestPoolOptions } from "./pools.js";
import { VirtualClock } from "./virtual-clock.js";

/** Pools of two hosts on the same records, the same clock and the same Telegram. Both know the session "a". */
export interface TwoHosts {
  readonly clock: VirtualClock;
  readonly telegram: FakeTelegram;
  /** Their records, listed by id. */
  readonly inner: SessionStorage;
  readonly one: TestPool;
  readonly two: TestPool;
}

export async function twoHosts(options: TestPoolOptions = {}): Promise<TwoHosts> {
  const [inner, clock] = [memory(), new VirtualClock()];
  const list = inner.list.bind(inner);
  inner.list = async () => [...(await list())].sort((a, b) => (a.id < b.id ? -1 : 1));
  const telegram = options.isAskable ? new AskableTelegram(clock) : new FakeTelegram(clock);
  onTestFinished(() => expect(telegram.violations).toEqual([]));
  const open = (given: TestPoolOptions): Promise<TestPool> =>
    openPool({ storage: new FaultyStorage(inner), clock, telegram, ...options, ...given });
  const one = await open({ sessions: ["a"], ownership: { host: "one" } });
  return { inner, clock, telegram, one, two: await open({ ownership: { host: "two" } }) };
}
