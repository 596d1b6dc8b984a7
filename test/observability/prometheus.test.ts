import { AggregatorRegistry, type Metric, Registry, register } from "prom-client";
import { describe, expect, test } from "vitest";
import { METRIC_FAMILIES } from "../../adapters/metrics/metric-families.js";
import { prometheus } from "../../adapters/metrics/prometheus.js";
import { OptionsError } from "../../src/errors.js";
import { READ, WRITE } from "../fakes/fake-telegram.js";
import { openPool } from "../fakes/pools.js";
import { flood, slowMode } from "../fakes/telegram-errors.js";

/** The names of the metrics in the text, by their TYPE lines. */
function namesIn(text: string): readonly string[] {
  return [...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name = ""]) => name);
}

/** The lines of one metric. */
function linesOf(text: string, name: string): readonly string[] {
  return text.split("\n").filter((line) => line.startsWith(`telegram_session_pool_${name}{`));
}

describe("prometheus()", () => {
  test("names - are those of the documents, with the prefix", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    await using registration = prometheus(pool, { registry: new Registry() });
    expect(namesIn(await registration.registry.metrics())).toEqual(
      [
        "sessions",
        "connected",
        "waiters",
        "next_available_seconds",
        "wait_seconds",
        "lease_seconds",
        "connect_seconds",
        "call_seconds",
        "floods_total",
        "flood_seconds_total",
        "rotations_total",
        "deaths_total",
        "restrictions_total",
        "unknown_outcomes_total",
        "storage_seconds",
        "storage_failures_total",
        "ownership_lost_total",
      ].map((name) => `telegram_session_pool_${name}`),
    );
  });

  test("values - are the figures of the pool, and no session id is a label", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["alpha", "beta"] });
    await using registration = prometheus(pool, { registry: new Registry() });
    telegram.onCall = ({ id }) => (id === "alpha" ? Promise.reject(flood(40)) : "done");
    await pool.use((client) => client.call(WRITE));
    await pool.disable("beta");
    await clock.advance(15_000);
    const text = await registration.registry.metrics();
    expect({
      cooling: linesOf(text, "sessions").find((line) => line.includes("cooling")),
      next: linesOf(text, "next_available_seconds"),
      floods: linesOf(text, "floods_total"),
      floodSeconds: linesOf(text, "flood_seconds_total"),
      rotations: linesOf(text, "rotations_total"),
      waits: linesOf(text, "wait_seconds_count"),
    }).toEqual({
      cooling: 'telegram_session_pool_sessions{pool="1",state="cooling"} 1',
      next: ['telegram_session_pool_next_available_seconds{pool="1"} 25'],
      floods: ['telegram_session_pool_floods_total{pool="1",method="messages.SendMessage",kind="FLOOD_WAIT"} 1'],
      floodSeconds: ['telegram_session_pool_flood_seconds_total{pool="1"} 40'],
      rotations: ['telegram_session_pool_rotations_total{pool="1"} 1'],
      waits: ['telegram_session_pool_wait_seconds_count{pool="1"} 2'],
    });
    expect(text).not.toMatch(/alpha|beta/);
  });

  test("next_available_seconds - is 0 while a session is free, even if the clock moves on while it is read", async () => {
    const { pool, clock } = await openPool({ sessions: ["a"] });
    const now = clock.now.bind(clock);
    let readings = 0;
    clock.now = () => now() + readings++;
    const monotonic = clock.monotonic.bind(clock);
    clock.monotonic = () => monotonic() + readings++;
    await using registration = prometheus(pool, { registry: new Registry() });
    const text = await registration.registry.metrics();
    expect(linesOf(text, "next_available_seconds")).toEqual([
      'telegram_session_pool_next_available_seconds{pool="1"} 0',
    ]);
  });

  test("histograms - have cumulative buckets up to +Inf", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    await using registration = prometheus(pool, { registry: new Registry() });
    const lease = await pool.acquire();
    lease.release();
    const buckets = linesOf(await registration.registry.metrics(), "lease_seconds_bucket");
    expect({ first: buckets[0], last: buckets.at(-1), count: buckets.length }).toEqual({
      first: 'telegram_session_pool_lease_seconds_bucket{le="0.001",pool="1"} 1',
      last: 'telegram_session_pool_lease_seconds_bucket{le="+Inf",pool="1"} 1',
      count: 14,
    });
  });

  test("perSession - labels states, floods and deaths with the session", async () => {
    const { pool, telegram } = await openPool({ sessions: ["alpha"] });
    await using registration = prometheus(pool, { registry: new Registry(), perSession: true });
    telegram.onCall = () => Promise.reject(flood(40));
    await pool.use((client) => client.call(WRITE), { wait: false }).catch(() => {});
    const text = await registration.registry.metrics();
    expect([...linesOf(text, "sessions"), ...linesOf(text, "floods_total")]).toEqual([
      'telegram_session_pool_sessions{pool="1",state="cooling",session="alpha"} 1',
      'telegram_session_pool_floods_total{pool="1",method="messages.SendMessage",kind="FLOOD_WAIT",session="alpha"} 1',
    ]);
  });

  test("several pools - share a registry by the label pool, and leave it one by one", async () => {
    const registry = new Registry();
    const [one, other] = [await openPool({ sessions: ["a"] }), await openPool({ sessions: ["a", "b"] })];
    const first = prometheus(one.pool, { registry });
    const second = prometheus(other.pool, { registry, pool: "senders" });
    const free = async () => linesOf(await registry.metrics(), "sessions").filter((line) => line.includes("free"));
    expect(await free()).toEqual([
      'telegram_session_pool_sessions{pool="1",state="free"} 1',
      'telegram_session_pool_sessions{pool="senders",state="free"} 2',
    ]);
    expect(() => prometheus(one.pool, { registry, pool: "senders" })).toThrow(OptionsError);
    await first[Symbol.asyncDispose]();
    expect(await free()).toEqual(['telegram_session_pool_sessions{pool="senders",state="free"} 2']);
    await second[Symbol.asyncDispose]();
    await second[Symbol.asyncDispose]();
    expect(registry.getMetricsAsArray()).toEqual([]);
  });

  test("the same pool again - shares its series until both registrations are disposed of", async () => {
    const registry = new Registry();
    const { pool } = await openPool({ sessions: ["a"] });
    const [first, again] = [prometheus(pool, { registry }), prometheus(pool, { registry })];
    const named = [prometheus(pool, { registry, pool: "mine" }), prometheus(pool, { registry, pool: "mine" })];
    const waiters = async () => linesOf(await registry.metrics(), "waiters");
    expect(await waiters()).toEqual([
      'telegram_session_pool_waiters{pool="1"} 0',
      'telegram_session_pool_waiters{pool="mine"} 0',
    ]);
    expect([first, again, ...named].map(({ pool: label }) => label)).toEqual(["1", "1", "mine", "mine"]);
    for (const registration of named) await registration[Symbol.asyncDispose]();
    await first[Symbol.asyncDispose]();
    await first[Symbol.asyncDispose]();
    expect(await waiters()).toEqual(['telegram_session_pool_waiters{pool="1"} 0']);
    await again[Symbol.asyncDispose]();
    expect(registry.getMetricsAsArray()).toEqual([]);
  });

  test("a registry that was cleared - gets the metrics again with the next pool, and keeps what is not the pool's", async () => {
    const registry = new Registry();
    const [one, other] = [await openPool({ sessions: ["a"] }), await openPool({ sessions: ["a"] })];
    const first = prometheus(one.pool, { registry });
    registry.clear();
    const second = prometheus(other.pool, { registry });
    expect(linesOf(await registry.metrics(), "waiters")).toHaveLength(2);
    registry.clear();
    const foreign = { name: "telegram_session_pool_waiters" } as unknown as Metric;
    registry.registerMetric(foreign);
    await first[Symbol.asyncDispose]();
    await second[Symbol.asyncDispose]();
    expect(registry.getMetricsAsArray()).toEqual([foreign]);
  });

  test("the workers of a cluster - are added up, and the first session that is free counts", async () => {
    const texts = [100, 40].map(async (seconds) => {
      const { pool } = await openPool({ sessions: ["a"] });
      await using registration = prometheus(pool, { registry: new Registry() });
      const lease = await pool.acquire();
      lease.coolDown(seconds);
      lease.release();
      return registration.registry.getMetricsAsJSON();
    });
    const text = await AggregatorRegistry.aggregate(await Promise.all(texts)).metrics();
    expect(["next_available_seconds", "lease_seconds_count"].flatMap((name) => linesOf(text, name))).toEqual([
      'telegram_session_pool_next_available_seconds{pool="1"} 40',
      'telegram_session_pool_lease_seconds_count{pool="1"} 2',
    ]);
  });

  test("method - has a bounded number of values, and none that no method of Telegram's has", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a"] });
    await using registration = prometheus(pool, { registry: new Registry() });
    telegram.onCall = ({ method }) => (method.startsWith("flood") ? Promise.reject(slowMode(30)) : "done");
    const strange = ["", "x".repeat(200), 'a"} 1\nevil 2', "no name", "<script>"];
    const names = [...strange, ...Array.from({ length: 3_000 }, (_, index) => `made.Up${index}`), READ];
    for (const name of names) await pool.use((client) => client.call(name));
    await pool.use((client) => client.call("flood it", { peer: "user:5" }), { retry: "none" }).catch(() => {});
    const text = await registration.registry.metrics();
    const labels = linesOf(text, "call_seconds_count").map((line) => /method="([^"]*)"/.exec(line)?.[1]);
    expect({ series: labels.length, isMade: labels.filter((label) => label?.startsWith("made.")).length }).toEqual({
      series: 2_002,
      isMade: 2_000,
    });
    expect(linesOf(text, "floods_total")).toEqual([
      'telegram_session_pool_floods_total{pool="1",method="other",kind="SLOWMODE_WAIT"} 1',
    ]);
  });

  test("without registry - registers in the global one, beside other metrics", async () => {
    const { pool } = await openPool();
    const registration = prometheus(pool, { prefix: "mine_" });
    expect(registration.registry).toBe(register);
    expect(register.getMetricsAsArray()).toHaveLength(METRIC_FAMILIES.length);
    await registration[Symbol.asyncDispose]();
    expect(register.getMetricsAsArray()).toEqual([]);
  });

  test("OpenMetrics - each counter has one _total", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    const registry = new Registry();
    registry.setContentType("application/openmetrics-text; version=1.0.0; charset=utf-8" as never);
    const registration = prometheus(pool, { registry });
    for (const _ of [1, 2]) {
      const text = await registry.metrics();
      expect(text).toContain("# TYPE telegram_session_pool_rotations counter");
      expect(linesOf(text, "rotations_total")).toEqual(['telegram_session_pool_rotations_total{pool="1"} 0']);
    }
    await registration[Symbol.asyncDispose]();
    expect(registry.getMetricsAsArray()).toEqual([]);
  });

  test("a name that the registry has - is an OptionsError, and the pool is not measured", async () => {
    const { pool } = await openPool();
    const registry = new Registry();
    registry.registerMetric({ name: "telegram_session_pool_waiters" } as unknown as Metric);
    expect(() => prometheus(pool, { registry })).toThrow(/another metric "telegram_session_pool_waiters"/);
    expect(registry.getMetricsAsArray()).toHaveLength(1);
  });

  test.each([
    [{ prefx: "x" }, /unknown option "prefx"\. Did you mean "prefix"/],
    [{ prefix: "no spaces " }, /prefix expects/],
    [{ registry: {} }, /registry expects/],
    [{ perSession: 1 }, /perSession expects/],
    [{ pool: "" }, /pool expects/],
  ])("%j is an OptionsError", async (options, message) => {
    const { pool } = await openPool();
    expect(() => prometheus(pool, options as never)).toThrow(message);
  });
});
