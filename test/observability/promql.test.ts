import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { root } from "../examples/build.js";

/** The part of the parser of Prometheus that is used. */
interface PromQl {
  readonly parser: {
    parse(text: string): {
      iterate(visit: { enter(node: { readonly type: { readonly isError: boolean } }): void }): void;
    };
  };
}

const { parser } = createRequire(import.meta.url)("@prometheus-io/lezer-promql") as PromQl;

/** The expressions that Prometheus would not take. */
function invalid(expressions: readonly string[]): readonly string[] {
  return expressions.filter((expression) => {
    let isInvalid = expression.trim() === "";
    parser.parse(expression).iterate({
      enter: ({ type }) => {
        isInvalid ||= type.isError;
      },
    });
    return isInvalid;
  });
}

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly datasource: { readonly uid: string };
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly fieldConfig: { readonly defaults: { readonly unit: string } };
  readonly targets: readonly {
    readonly refId: string;
    readonly expr: string;
    readonly datasource: { readonly uid: string };
  }[];
}

const dashboard = JSON.parse(readFileSync(join(root, "docs/grafana.json"), "utf8")) as {
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string }[] };
};
const page = readFileSync(join(root, "docs/metrics.md"), "utf8");

describe("docs/grafana.json", () => {
  const queries = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));

  test("queries - are valid PromQL once Grafana has put its intervals in", () => {
    const asSent = queries.map((query) => query.replaceAll("$__rate_interval", "5m"));
    expect(invalid(asSent)).toEqual([]);
    expect(invalid(["sum by (pool", "rate(x[5m]"])).toHaveLength(2);
  });

  test("queries - name only variables that the dashboard has, and choose the pool", () => {
    const known = new Set(dashboard.templating.list.map(({ name }) => name));
    const used = queries.flatMap((query) => [...query.matchAll(/\$\{?(\w+)/g)].map(([, name = ""]) => name));
    expect(used.filter((name) => !known.has(name) && name !== "__rate_interval")).toEqual([]);
    expect(queries.filter((query) => !query.includes('pool=~"$pool"'))).toEqual([]);
  });

  test("panels - have an id and a place of their own, a unit, and the data source of the dashboard", () => {
    const { panels } = dashboard;
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, cell) => `${x + (cell % w)}/${y + Math.floor(cell / w)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
    expect(panels.filter(({ fieldConfig }) => fieldConfig.defaults.unit === "")).toEqual([]);
    const sources = panels.flatMap(({ datasource, targets }) => [
      datasource,
      ...targets.map((target) => target.datasource),
    ]);
    expect(new Set(sources.map(({ uid }) => uid))).toEqual(new Set(["$".concat("{datasource}")]));
  });
});

describe("docs/metrics.md", () => {
  test("questions - are answered by valid PromQL", () => {
    const rows = [...page.matchAll(/^\| [^|`]+\? +\| `([^`]+)`/gm)].map(([, query = ""]) =>
      query.replaceAll("\\|", "|"),
    );
    expect(rows).toHaveLength(7);
    expect(invalid(rows)).toEqual([]);
  });

  test("alerts - have valid PromQL", () => {
    const [, rules = ""] = /```yaml\n([^`]*)```/.exec(page) ?? [];
    const expressions = [...rules.matchAll(/^ +expr: (?:>-\n)?((?:.|\n {10})*)$/gm)].map(
      ([, expression = ""]) => expression,
    );
    expect(expressions).toHaveLength([...rules.matchAll(/- alert: /g)].length);
    expect(invalid(expressions)).toEqual([]);
  });
});
