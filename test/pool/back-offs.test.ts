import { describe, expect, test } from "vitest";
import { READ } from "../fakes/fake-telegram.js";
import { openPool, type TestPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { settled } from "../fakes/virtual-clock.js";

const PROXY = { ip: "10.0.0.1", port: 1080, socksType: 5 as const };
const OTHER = { ...PROXY, ip: "10.0.0.2" };

const refused = (): never => {
  throw Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
};
const crowded = (): never => {
  throw Object.assign(new Error("transport error"), { code: -429 });
};

/** Three sessions behind a proxy, one behind another, one behind none. */
async function behindProxies(): Promise<TestPool> {
  const made = await openPool({ idleTimeoutMs: 0, connectTimeoutMs: 10_000 });
  for (const id of ["a", "b", "c"]) await made.pool.add(id, sessionString(id), { profile: { proxy: PROXY } });
  await made.pool.add("d", sessionString("d"), { profile: { proxy: OTHER } });
  await made.pool.add("e", sessionString("e"));
  return made;
}

const states = ({ pool }: TestPool): string =>
  pool
    .sessions()
    .map(({ id, state, reason }) => `${id} ${state}${reason === null ? "" : ` ${reason}`}`)
    .join(", ");

describe("a proxy that fails", () => {
  test("twice - rests those sessions alone; three times in a row - all that share it", async () => {
    const made = await behindProxies();
    const { pool, telegram } = made;
    telegram.onConnect = (id) => (["a", "b", "c"].includes(id) ? refused() : undefined);
    for (const id of ["a", "b"]) await pool.acquire({ id }).catch(() => {});
    expect(states(made)).toBe("a cooling connect failed, b cooling connect failed, c free, d free, e free");
    await pool.acquire({ id: "c" }).catch(() => {});
    expect(states(made)).toBe("a cooling proxyFailed, b cooling proxyFailed, c cooling proxyFailed, d free, e free");
    expect(await pool.use((client) => client.call(READ), { wait: false })).toBe(`${READ} by d`);
  });

  test("one session tries first; the others come back as soon as it has connected", async () => {
    const made = await behindProxies();
    const { pool, telegram, clock } = made;
    telegram.onConnect = (id) => (["a", "b", "c"].includes(id) ? refused() : undefined);
    for (const id of ["a", "b", "c"]) await pool.acquire({ id }).catch(() => {});
    await pool.disable("d");
    await pool.disable("e");
    telegram.onConnect = () => {};
    const before = telegram.connects.length;
    const waiting = ["a", "b", "c"].map((id) => watch(pool.acquire({ id })));
    await clock.advance(1_200);
    expect(waiting.map(({ state }) => state)).toEqual(["resolved", "resolved", "resolved"]);
    expect(telegram.connects.slice(before).map(({ id }) => id)[0]).toBe("c");
  });

  test("still dead - one connect each time, ever later, for all of them together", async () => {
    const made = await behindProxies();
    const { pool, telegram, clock } = made;
    await pool.disable("d");
    await pool.disable("e");
    telegram.onConnect = refused;
    watch(pool.use((client) => client.call(READ)));
    await clock.advance(600_000);
    expect(telegram.connects.length).toBeLessThan(20);
    expect(made.events("disconnected").map((event) => event.reason)).toEqual(["proxyFailed"]);
  });

  test("its idle clients are closed, and why is told", async () => {
    const { pool, telegram, events } = await openPool({ connectTimeoutMs: 10_000 });
    for (const id of ["a", "b", "c", "d"]) await pool.add(id, sessionString(id), { profile: { proxy: PROXY } });
    (await pool.acquire({ id: "d" })).release();
    telegram.onConnect = refused;
    for (const id of ["a", "b", "c"]) await pool.acquire({ id }).catch(() => {});
    await settled();
    const reason = "proxyFailed";
    expect([telegram.online, events("disconnected")]).toEqual([
      [],
      [
        { id: "c", reason },
        { id: "d", reason },
      ],
    ]);
  });
});

test("-429 - nobody connects from that address for a while, with or without a proxy, and what is connected stays", async () => {
  const made = await behindProxies();
  const { pool, telegram, clock } = made;
  const lease = await pool.acquire({ id: "d" });
  await pool.add("f", sessionString("f"));
  telegram.onConnect = (id) => (id === "e" ? crowded() : undefined);
  await pool.acquire({ id: "e" }).catch(() => {});
  expect(states(made)).toBe("a free, b free, c free, d leased, e cooling proxyFailed, f cooling proxyFailed");
  expect(await lease.client.call(READ)).toBe(`${READ} by d`);
  telegram.onConnect = () => {};
  await clock.advance(1_200);
  (await pool.acquire({ id: "e" })).release();
  expect(pool.get("f")?.state).toBe("free");
});
