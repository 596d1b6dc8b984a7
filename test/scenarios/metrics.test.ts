import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { prometheus } from "../../adapters/metrics/prometheus.js";
import type { CallRecord } from "../../src/testing/index.js";
import { message, stage } from "./support.js";

const SEND = "messages.SendMessage";

/** The value of one series; `undefined` if there is none. */
function valueIn(text: string, series: string): number | undefined {
  const line = text.split("\n").find((candidate) => candidate.startsWith(`telegram_session_pool_${series} `));
  return line === undefined ? undefined : Number(line.split(" ").at(-1));
}

/** How often each method ended in each way, by the metrics. */
function exportedCalls(text: string): Readonly<Record<string, number>> {
  const series = /^telegram_session_pool_call_seconds_count\{pool="main",method="(.+)",outcome="(.+)"\} (\d+)$/gm;
  return Object.fromEntries(
    [...text.matchAll(series)].map(([, method, outcome, count]) => [`${method} ${outcome}`, Number(count)]),
  );
}

const OUTCOMES: Readonly<Record<string, string>> = { FLOOD_WAIT_30: "flood", AUTH_KEY_UNREGISTERED: "dead" };

/** The same, by the server. */
function servedCalls(calls: readonly CallRecord[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { method, outcome, isConnect } of calls) {
    if (isConnect) continue;
    const key = `${method} ${OUTCOMES[outcome] ?? outcome}`;
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

test("prometheus() - a flood, a death and rotations: the figures are what the server did", async () => {
  const { server, open } = await stage({ accounts: 3 });
  const pool = await open();
  await using metrics = prometheus(pool, { registry: new Registry(), pool: "main" });
  server.fail({ account: "account1", method: SEND, message: "FLOOD_WAIT_30" });
  server.revoke("account2", { code: 401, message: "AUTH_KEY_UNREGISTERED" });
  for (const text of ["one", "two", "three"]) await pool.invoke(() => message(text));
  const text = await metrics.registry.metrics();
  expect(exportedCalls(text)).toEqual(servedCalls(server.calls()));
  const floods = server.calls().filter(({ outcome }) => outcome === "FLOOD_WAIT_30").length;
  expect({
    floods: valueIn(text, `floods_total{pool="main",method="${SEND}",kind="FLOOD_WAIT"}`),
    floodSeconds: valueIn(text, 'flood_seconds_total{pool="main"}'),
    deaths: valueIn(text, 'deaths_total{pool="main",reason="AUTH_KEY_UNREGISTERED"}'),
    dead: valueIn(text, 'sessions{pool="main",state="dead"}'),
    cooling: valueIn(text, 'sessions{pool="main",state="cooling"}'),
    rotations: valueIn(text, 'rotations_total{pool="main"}'),
    connects: valueIn(text, 'connect_seconds_count{pool="main"}'),
    leases: valueIn(text, 'lease_seconds_count{pool="main"}'),
    unknown: valueIn(text, 'unknown_outcomes_total{pool="main"}'),
    storageFailures: valueIn(text, 'storage_failures_total{pool="main"}'),
  }).toEqual({
    floods,
    floodSeconds: 30 * floods,
    deaths: 1,
    dead: 1,
    cooling: 1,
    rotations: 2,
    connects: server.connections().length,
    leases: 5,
    unknown: 0,
    storageFailures: 0,
  });
  expect(server.messages().map((sent) => sent.text)).toEqual(["one", "two", "three"]);
  expect(text).not.toMatch(/account\d/);
});

test("metrics() - a write that is never answered is an unknown outcome and a timeout", async () => {
  const { server, open } = await stage();
  const pool = await open({ callTimeoutMs: 300 });
  using metrics = pool.metrics();
  server.mute({ method: SEND });
  await expect(pool.invoke(() => message("lost"))).rejects.toMatchObject({ code: "OUTCOME_UNKNOWN" });
  const { unknownOutcomes, calls } = metrics.read();
  const sends = calls.filter(({ method }) => method === SEND).map(({ outcome, seconds }) => [outcome, seconds.count]);
  expect({ unknownOutcomes, sends }).toEqual({ unknownOutcomes: 1, sends: [["timeout", 1]] });
});

test("prometheus() - a storm of floods with 64 workers: every call, flood and second is what the server saw", async () => {
  const { server, open } = await stage({ accounts: 8 });
  const pool = await open({ cooldownScope: "method" });
  await using metrics = prometheus(pool, { registry: new Registry(), pool: "main" });
  for (const { name } of server.accounts) {
    server.fail({ account: name, method: SEND, message: "FLOOD_WAIT_1", skip: 2, times: 1 });
  }
  await Promise.all(Array.from({ length: 64 }, (_, worker) => pool.invoke(() => message(`${worker}`))));
  const text = await metrics.registry.metrics();
  const calls = server.calls();
  const floods = calls.filter(({ outcome }) => outcome.startsWith("FLOOD_WAIT_"));
  expect(floods.length).toBeGreaterThanOrEqual(8);
  const seconds = floods.reduce((sum, { outcome }) => sum + Number(outcome.replace("FLOOD_WAIT_", "")), 0);
  expect({
    sent: valueIn(text, `call_seconds_count{pool="main",method="${SEND}",outcome="ok"}`),
    refused: valueIn(text, `call_seconds_count{pool="main",method="${SEND}",outcome="flood"}`),
    floods: valueIn(text, `floods_total{pool="main",method="${SEND}",kind="FLOOD_WAIT"}`),
    seconds: valueIn(text, 'flood_seconds_total{pool="main"}'),
    leases: valueIn(text, 'lease_seconds_count{pool="main"}'),
  }).toEqual({
    sent: 64,
    refused: floods.length,
    floods: floods.length,
    seconds,
    leases: 64 + (valueIn(text, 'rotations_total{pool="main"}') ?? 0),
  });
  const states = [...text.matchAll(/_sessions\{pool="main",state="\w+"\} (\d+)/g)].map(([, count]) => Number(count));
  expect({ states: states.length, sum: states.reduce((sum, count) => sum + count, 0) }).toEqual({ states: 7, sum: 8 });
});
