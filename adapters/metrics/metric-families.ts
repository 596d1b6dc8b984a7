import type { HistogramSnapshot, MetricsSnapshot, SessionInfo } from "../../src/index.js";

/** Labels of one series, without `pool`. */
export type Labels = Readonly<Record<string, string>>;

/** The value of one series. */
export interface Series<Value> {
  readonly labels: Labels;
  readonly value: Value;
}

/** The source of the values of one pool. */
export interface Reading {
  readonly snapshot: MetricsSnapshot;
  /** The sessions, where each is a series of its own; `undefined` without `perSession`. */
  readonly sessions: readonly SessionInfo[] | undefined;
}

/** One metric: its name without the prefix, and how its series are computed. */
export type MetricFamily = {
  readonly name: string;
  readonly help: string;
  /** How a registry of a cluster joins the values of several processes. @default "sum" */
  readonly aggregator?: "min";
} & (
  | { readonly type: "gauge" | "counter"; series(reading: Reading): readonly Series<number>[] }
  | { readonly type: "histogram"; series(reading: Reading): readonly Series<HistogramSnapshot>[] }
);

const STATES = ["free", "leased", "cooling", "restricted", "dead", "disabled", "foreign"] as const;

/** Adds up what the entries of several sessions count, unless each session is a series of its own. */
function summed<Entry extends { readonly sessionId: string }>(
  { sessions }: Reading,
  entries: readonly Entry[],
  labelsOf: (entry: Entry) => Labels,
  valueIn: (entry: Entry) => number,
): readonly Series<number>[] {
  const sums = new Map<string, { readonly labels: Labels; value: number }>();
  for (const entry of entries) {
    const labels = sessions === undefined ? labelsOf(entry) : { ...labelsOf(entry), session: entry.sessionId };
    const key = JSON.stringify(labels);
    const sum = sums.get(key) ?? { labels, value: 0 };
    sum.value += valueIn(entry);
    sums.set(key, sum);
  }
  return [...sums.values()];
}

function single<Value>(value: Value): readonly Series<Value>[] {
  return [{ labels: {}, value }];
}

/** The one series of a counter without labels; with none of its own yet, a counter with labels starts at its first event. */
function counter(name: string, help: string, valueIn: (snapshot: MetricsSnapshot) => number): MetricFamily {
  return { name, help, type: "counter", series: ({ snapshot }) => single(valueIn(snapshot)) };
}

function histogram(
  name: string,
  help: string,
  valueIn: (snapshot: MetricsSnapshot) => HistogramSnapshot,
): MetricFamily {
  return { name, help, type: "histogram", series: ({ snapshot }) => single(valueIn(snapshot)) };
}

function sessionsByState({ snapshot: { status }, sessions }: Reading): readonly Series<number>[] {
  if (sessions === undefined) return STATES.map((state) => ({ labels: { state }, value: status[state] }));
  return sessions.map(({ id, state }) => ({ labels: { state, session: id }, value: 1 }));
}

/** Absent while no instant is known: a gauge cannot say so. */
function nextAvailable({ snapshot: { status, readAt } }: Reading): readonly Series<number>[] {
  const { free, nextAvailableAt } = status;
  if (free > 0) return single(0);
  return nextAvailableAt === null ? [] : single(Math.max(nextAvailableAt - readAt, 0) / 1000);
}

/** Every metric, in the order in which they are exposed. */
export const METRIC_FAMILIES: readonly MetricFamily[] = [
  { name: "sessions", help: "Sessions by state.", type: "gauge", series: sessionsByState },
  {
    name: "connected",
    help: "Connected clients, used by a caller or idle.",
    type: "gauge",
    series: ({ snapshot: { connected } }) =>
      (["idle", "used"] as const).map((use) => ({ labels: { use }, value: connected[use] })),
  },
  {
    name: "waiters",
    help: "Callers that wait for a session.",
    type: "gauge",
    series: ({ snapshot }) => single(snapshot.status.waiters),
  },
  {
    name: "next_available_seconds",
    help: "Seconds until a session is free, 0 when one is; absent while no instant is known.",
    type: "gauge",
    aggregator: "min",
    series: nextAvailable,
  },
  histogram("wait_seconds", "Time from a call until its lease, a connect included.", ({ wait }) => wait),
  histogram("lease_seconds", "Time for which a lease was held.", ({ lease }) => lease),
  histogram("connect_seconds", "Duration of successful connects.", ({ connect }) => connect),
  {
    name: "call_seconds",
    help: "Duration of API calls by method and outcome; one that is sent again counts again.",
    type: "histogram",
    series: ({ snapshot: { calls } }) =>
      calls.map(({ method, outcome, seconds }) => ({ labels: { method, outcome }, value: seconds })),
  },
  {
    name: "floods_total",
    help: "Waits that Telegram asked for, by the refused method and the kind of wait.",
    type: "counter",
    series: (reading) =>
      summed(
        reading,
        reading.snapshot.floods,
        ({ method, kind }) => ({ method, kind }),
        ({ count }) => count,
      ),
  },
  counter("flood_seconds_total", "Sum of the waits that Telegram asked for.", ({ floods }) =>
    floods.reduce((sum, { seconds }) => sum + seconds, 0),
  ),
  counter("rotations_total", "Times that work moved on to a further attempt.", ({ rotations }) => rotations),
  {
    name: "deaths_total",
    help: "Sessions that died, by reason.",
    type: "counter",
    series: (reading) =>
      summed(
        reading,
        reading.snapshot.deaths,
        ({ reason }) => ({ reason }),
        ({ count }) => count,
      ),
  },
  {
    name: "restrictions_total",
    help: "Restrictions by Telegram, by reason.",
    type: "counter",
    series: (reading) =>
      summed(
        reading,
        reading.snapshot.restrictions,
        ({ reason }) => ({ reason }),
        ({ count }) => count,
      ),
  },
  counter("unknown_outcomes_total", "Writes that may have taken effect without a known outcome.", (snapshot) => {
    return snapshot.unknownOutcomes;
  }),
  histogram("storage_seconds", "Duration of storage operations, failed ones included.", ({ storage }) => storage),
  counter("storage_failures_total", "Failures of the storage.", ({ storageFailures }) => storageFailures),
  counter("ownership_lost_total", "Sessions lost to another process.", ({ ownershipLost }) => ownershipLost),
];
