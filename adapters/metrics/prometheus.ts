import { createRequire } from "node:module";
import type { Metric, Registry } from "prom-client";
import { type HistogramSnapshot, OptionsError, type PoolMetrics, type SessionInfo } from "../../src/index.js";
import { assertKnownOptions } from "../../src/options/validators.js";
import { METRIC_FAMILIES, type MetricFamily, type Reading } from "./metric-families.js";

/** The part of a pool that is exported: a `SessionPool`. */
export interface MeasuredPool {
  metrics(): PoolMetrics;
  sessions(): readonly SessionInfo[];
}

/** Options of {@link prometheus}. */
export interface PrometheusOptions {
  /** Where the metrics are registered. @default the global registry of `prom-client` */
  readonly registry?: Registry;
  /** Prefix of every name. @default "telegram_session_pool_" */
  readonly prefix?: string;
  /** Whether `sessions`, `floods_total`, `deaths_total` and `restrictions_total` have the label `session`: one series for each session. @default false */
  readonly perSession?: boolean;
  /** Value of the label `pool`, which is unique in its registry. @default the lowest free number, `"1"` for the first pool */
  readonly pool?: string;
}

/** Metrics of one pool in a registry, until they are disposed of. */
export interface Registration extends AsyncDisposable {
  /** The registry: `await registry.metrics()` is what an endpoint answers. */
  readonly registry: Registry;
  /** Value of the label `pool`. */
  readonly pool: string;
}

const DEFAULT_PREFIX = "telegram_session_pool_";
const OPTION_NAMES: readonly string[] = ["registry", "prefix", "perSession", "pool"];

/** A pool that is exported. */
interface ExportedPool {
  readonly label: string;
  readonly pool: MeasuredPool;
  readonly perSession: boolean;
  readonly metrics: PoolMetrics;
  /** Registrations that were not disposed of. */
  users: number;
  read(): Reading;
}

/** A value as `prom-client` exposes it. */
interface ExposedValue {
  readonly value: number;
  readonly labels: Record<string, string | number>;
  readonly metricName?: string;
}

/**
 * One metric over all pools of a registry, in the shape of a metric of `prom-client`. Computed when it is scraped. The
 * registry changes `name` for the OpenMetrics format.
 */
class ExposedMetric {
  name: string;
  readonly help: string;
  readonly type: MetricFamily["type"];
  readonly aggregator: "sum" | "min";
  readonly #family: MetricFamily;
  /** The name as it is registered. */
  readonly fullName: string;
  readonly #pools: Iterable<ExportedPool>;

  constructor(family: MetricFamily, prefix: string, pools: Iterable<ExportedPool>) {
    this.name = prefix + family.name;
    this.help = family.help;
    this.type = family.type;
    this.aggregator = family.aggregator ?? "sum";
    this.fullName = this.name;
    this.#family = family;
    this.#pools = pools;
  }

  async get(): Promise<object> {
    const { name, help, type, aggregator } = this;
    return { name, help, type, aggregator, values: [...this.#values()] };
  }

  /** The figures are the pool's: there is nothing to reset. */
  reset(): void {}

  *#values(): Generator<ExposedValue> {
    const family = this.#family;
    for (const { label, read } of this.#pools) {
      const reading = read();
      if (family.type === "histogram") {
        for (const { labels, value } of family.series(reading)) {
          yield* bucketsOf(this.fullName, { pool: label, ...labels }, value);
        }
      } else {
        for (const { labels, value } of family.series(reading)) yield { value, labels: { pool: label, ...labels } };
      }
    }
  }
}

function* bucketsOf(
  name: string,
  labels: Record<string, string>,
  { bounds, counts, sum, count }: HistogramSnapshot,
): Generator<ExposedValue> {
  let total = 0;
  for (const [index, bound] of bounds.entries()) {
    total += counts[index] ?? 0;
    yield { metricName: `${name}_bucket`, labels: { le: bound, ...labels }, value: total };
  }
  yield { metricName: `${name}_bucket`, labels: { le: "+Inf", ...labels }, value: count };
  yield { metricName: `${name}_sum`, labels, value: sum };
  yield { metricName: `${name}_count`, labels, value: count };
}

/** The pools of one registry and prefix; registered with the first, removed with the last. */
class PoolGroup {
  readonly #registry: Registry;
  readonly #pools = new Map<string, ExportedPool>();
  readonly #metrics: readonly ExposedMetric[];

  constructor(registry: Registry, prefix: string) {
    this.#registry = registry;
    const pools = { [Symbol.iterator]: () => this.#pools.values() };
    this.#metrics = METRIC_FAMILIES.map((family) => new ExposedMetric(family, prefix, pools));
  }

  /** Exports a pool, or joins its export if it has one already. Throws `OptionsError` when a label or a name is taken. */
  join(pool: MeasuredPool, perSession: boolean, given: string | undefined): ExportedPool {
    const isSame = (other: ExportedPool): boolean =>
      other.pool === pool && other.perSession === perSession && (given ?? other.label) === other.label;
    const exported = [...this.#pools.values()].find(isSame) ?? this.#add(pool, perSession, given);
    exported.users++;
    return exported;
  }

  leave(exported: ExportedPool): void {
    if (--exported.users > 0) return;
    this.#pools.delete(exported.label);
    exported.metrics[Symbol.dispose]();
    if (this.#pools.size > 0) return;
    // The user may have cleared the registry, and used the names.
    for (const metric of this.#metrics)
      if (this.#isRegistered(metric)) this.#registry.removeSingleMetric(metric.fullName);
  }

  #add(pool: MeasuredPool, perSession: boolean, given: string | undefined): ExportedPool {
    const label = this.#labelFor(given);
    this.#register();
    const metrics = pool.metrics();
    const read = oncePerTurn(() => ({
      snapshot: metrics.read(),
      sessions: perSession ? pool.sessions() : undefined,
    }));
    const exported: ExportedPool = { label, pool, perSession, metrics, users: 0, read };
    this.#pools.set(label, exported);
    return exported;
  }

  /** The given label, or a free one. Throws `OptionsError` when it is taken. */
  #labelFor(given: string | undefined): string {
    if (given !== undefined) {
      if (!this.#pools.has(given)) return given;
      throw new OptionsError(`prometheus: "${given}" (pool) is registered already. Give each pool a name of its own.`);
    }
    let number = 1;
    while (this.#pools.has(String(number))) number++;
    return String(number);
  }

  #isRegistered(metric: ExposedMetric): boolean {
    return this.#registry.getSingleMetric(metric.fullName) === (metric as unknown as Metric);
  }

  #register(): void {
    const missing = this.#metrics.filter((metric) => !this.#isRegistered(metric));
    const taken = missing.find(({ fullName }) => this.#registry.getSingleMetric(fullName) !== undefined);
    if (taken !== undefined) {
      throw new OptionsError(`prometheus: the registry has another metric "${taken.fullName}". Pass another prefix.`);
    }
    for (const metric of missing) this.#registry.registerMetric(metric as unknown as Metric);
  }
}

/** Groups by registry and prefix. */
const groups = new WeakMap<Registry, Map<string, PoolGroup>>();

function groupOf(registry: Registry, prefix: string): PoolGroup {
  const byPrefix = groups.get(registry) ?? new Map<string, PoolGroup>();
  groups.set(registry, byPrefix);
  const group = byPrefix.get(prefix) ?? new PoolGroup(registry, prefix);
  byPrefix.set(prefix, group);
  return group;
}

/**
 * Exports the metrics of a pool to Prometheus by `prom-client` 15, which is to be installed. The pool is measured from now
 * until the registration is disposed of; `docs/metrics.md` lists the names. Several pools in one registry differ in the
 * label `pool`; the same pool again, with the same options, shares its series.
 *
 * @throws `OptionsError` for a wrong option, a label or name that is taken, or without `prom-client`.
 *
 * @example
 * ```ts
 * await using metrics = prometheus(pool);
 * http.createServer(async (_, response) => response.end(await metrics.registry.metrics())).listen(9_090);
 * ```
 */
export function prometheus(pool: MeasuredPool, options: PrometheusOptions = {}): Registration {
  checkOptions(pool, options);
  const { prefix = DEFAULT_PREFIX, perSession = false } = options;
  const registry = options.registry ?? globalRegistry();
  const group = groupOf(registry, prefix);
  const exported = group.join(pool, perSession, options.pool);
  let isDisposed = false;
  return {
    registry,
    pool: exported.label,
    [Symbol.asyncDispose]: async () => {
      if (isDisposed) return;
      isDisposed = true;
      group.leave(exported);
    },
  };
}

/** A registry reads all of its metrics in one turn: they share one reading. */
function oncePerTurn(read: () => Reading): () => Reading {
  let reading: Reading | undefined;
  return () => {
    if (reading === undefined) {
      reading = read();
      queueMicrotask(() => {
        reading = undefined;
      });
    }
    return reading;
  };
}

function globalRegistry(): Registry {
  try {
    const client = createRequire(import.meta.url)("prom-client") as { readonly register: Registry };
    return client.register;
  } catch (cause) {
    throw new OptionsError('prometheus needs prom-client: "npm install prom-client@15".', { cause });
  }
}

function checkOptions(pool: MeasuredPool, options: PrometheusOptions): void {
  if (typeof pool?.metrics !== "function")
    throw new OptionsError("prometheus expects a SessionPool as its first argument.");
  assertKnownOptions("prometheus", options, OPTION_NAMES);
  const { registry, prefix, perSession, pool: name } = options;
  if (registry !== undefined && typeof registry?.registerMetric !== "function") {
    throw new OptionsError("prometheus: registry expects a Registry of prom-client.");
  }
  if (prefix !== undefined && !/^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(prefix)) {
    throw new OptionsError('prometheus: prefix expects letters, digits and "_", such as "telegram_session_pool_".');
  }
  if (perSession !== undefined && typeof perSession !== "boolean") {
    throw new OptionsError("prometheus: perSession expects true or false.");
  }
  if (name !== undefined && (typeof name !== "string" || name === "")) {
    throw new OptionsError("prometheus: pool expects a text of at least one character.");
  }
}
