import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { METRIC_FAMILIES } from "../../adapters/metrics/metric-families.js";
import { root } from "../examples/build.js";

const PREFIX = "telegram_session_pool_";

/** The names of all series, those of histograms with their suffixes. */
const SERIES: ReadonlySet<string> = new Set(
  METRIC_FAMILIES.flatMap(({ name, type }) =>
    type === "histogram" ? ["_bucket", "_sum", "_count"].map((suffix) => PREFIX + name + suffix) : [PREFIX + name],
  ),
);

/** The names with the prefix in a text. */
function namesIn(text: string): readonly string[] {
  return [...new Set([...text.matchAll(/telegram_session_pool_[a-z_]+/g)].map(([name]) => name))];
}

function read(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

interface Dashboard {
  readonly panels: readonly { readonly title: string; readonly targets: readonly { readonly expr: string }[] }[];
}

test("docs/grafana.json - queries only series that exist, and every metric", () => {
  const { panels } = JSON.parse(read("docs/grafana.json")) as Dashboard;
  const queried = namesIn(panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)).join("\n"));
  const metrics = METRIC_FAMILIES.map(({ name }) => PREFIX + name);
  expect({
    unknown: queried.filter((name) => !SERIES.has(name)),
    missing: metrics.filter((name) => !queried.some((series) => series.startsWith(name))),
  }).toEqual({ unknown: [], missing: [] });
});

test("docs/metrics.md - lists every metric with its type, and queries only series that exist", () => {
  const page = read("docs/metrics.md");
  const rows = [...page.matchAll(/^\| `([a-z_]+)` +\| (gauge|counter|histogram)/gm)].map(([, name, type]) => [
    name,
    type,
  ]);
  expect(rows).toEqual(METRIC_FAMILIES.map(({ name, type }) => [name, type]));
  expect(namesIn(page).filter((name) => !SERIES.has(name) && name !== PREFIX)).toEqual([]);
});
