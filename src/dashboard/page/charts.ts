import type { BucketRow } from "../frames.js";
import { draw, make, setAttribute, setText } from "./dom.js";
import { floodsByMethod, type PoolModel } from "./pool-model.js";
import { clockTime, count, counted, shortMethod } from "./text.js";

const HOUR_MS = 3_600_000;
const BUCKET_MS = 10_000;
const MINUTE_MS = 60_000;
const HEIGHT = 96;
/** Methods with a color of their own; the others share one. */
const MAX_SERIES = 5;

/** One layer of a chart: its values by column. */
interface Series {
  readonly name: string;
  /** Number of its color. */
  readonly color: number;
  readonly values: readonly number[];
}

interface ChartData {
  /** Duration of one column. */
  readonly columnMs: number;
  /** Stacked, the first at the bottom. */
  readonly series: readonly Series[];
  /** The figure beside the title. */
  readonly now: string;
  /** All of it in one sentence, for those who do not see the drawing. */
  readonly summary: string;
}

interface ChartKind {
  readonly name: string;
  readonly title: string;
  readonly isArea: boolean;
  readonly hasLegend: boolean;
  read(pool: PoolModel, start: number): ChartData;
}

/** The buckets of an hour by their columns. */
function columnsOf(
  pool: PoolModel,
  start: number,
  columnMs: number,
  measure: (bucket: BucketRow) => number,
  isMost: boolean,
): number[] {
  const columns = new Array<number>(Math.round(HOUR_MS / columnMs)).fill(0);
  for (const bucket of pool.buckets.values()) {
    const index = Math.floor((bucket.at - start) / columnMs);
    const before = columns[index];
    if (before === undefined) continue;
    const value = measure(bucket);
    columns[index] = isMost ? Math.max(before, value) : before + value;
  }
  return columns;
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

function floodData(pool: PoolModel, start: number): ChartData {
  const methods = floodsByMethod(pool);
  const named = methods.slice(0, MAX_SERIES).map(([method]) => method);
  const series = named.map((method, color) => ({
    name: shortMethod(method),
    color,
    values: columnsOf(pool, start, MINUTE_MS, ({ floods }) => floods[method] ?? 0, false),
  }));
  const rest = methods.slice(MAX_SERIES);
  if (rest.length > 0) {
    const ofRest = ({ floods }: BucketRow): number => sum(rest.map(([method]) => floods[method] ?? 0));
    series.push({
      name: `${rest.length} more`,
      color: MAX_SERIES,
      values: columnsOf(pool, start, MINUTE_MS, ofRest, false),
    });
  }
  const total = sum(methods.map(([, number]) => number));
  const texts = methods.slice(0, MAX_SERIES).map(([method, number]) => `${count(number)} by ${shortMethod(method)}`);
  return {
    columnMs: MINUTE_MS,
    series,
    now: count(total),
    summary: `${counted(total, "flood")} in the last hour. ${texts.join(", ")}`,
  };
}

function callData(pool: PoolModel, start: number): ChartData {
  const values = columnsOf(pool, start, BUCKET_MS, ({ calls }) => calls, false).map(
    (calls) => calls / (BUCKET_MS / 1_000),
  );
  // The last column is not over yet.
  const latest = values.at(-2) ?? 0;
  const most = Math.max(0, ...values);
  const text = `${latest < 10 ? latest.toFixed(1) : count(Math.round(latest))} /s`;
  const summary = `${text} now, at most ${most.toFixed(1)} calls per second in the last hour.`;
  return { columnMs: BUCKET_MS, series: [{ name: "calls per second", color: 0, values }], now: text, summary };
}

function waiterData(pool: PoolModel, start: number): ChartData {
  const values = columnsOf(pool, start, BUCKET_MS, ({ waiters }) => waiters, true);
  const now = pool.status.waiters ?? 0;
  const summary = `${counted(now, "caller waits", "callers wait")} now, at most ${count(Math.max(0, ...values))} in the last hour.`;
  return { columnMs: BUCKET_MS, series: [{ name: "waiting callers", color: 3, values }], now: count(now), summary };
}

function deathData(pool: PoolModel, start: number): ChartData {
  const deaths = columnsOf(pool, start, MINUTE_MS, ({ deaths }) => deaths, false);
  const restrictions = columnsOf(pool, start, MINUTE_MS, ({ restrictions }) => restrictions, false);
  const series = [
    { name: "deaths", color: 1, values: deaths },
    { name: "restrictions", color: 4, values: restrictions },
  ];
  const summary = `${counted(sum(deaths), "death")} and ${counted(sum(restrictions), "restriction")} in the last hour.`;
  return { columnMs: MINUTE_MS, series, now: count(sum(deaths) + sum(restrictions)), summary };
}

const KINDS: readonly ChartKind[] = [
  { name: "floods", title: "Floods by method", isArea: false, hasLegend: true, read: floodData },
  { name: "calls", title: "Calls per second", isArea: true, hasLegend: false, read: callData },
  { name: "waiters", title: "Waiting callers", isArea: true, hasLegend: false, read: waiterData },
  { name: "deaths", title: "Deaths and restrictions", isArea: false, hasLegend: true, read: deathData },
];

/** A round number that is not less. */
function roundUp(value: number): number {
  if (value <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= value) ?? 10;
  return step * power;
}

/** One drawing of the last hour. */
class Chart {
  readonly element: HTMLElement;
  readonly #kind: ChartKind;
  readonly #now = make("strong");
  readonly #svg = draw("svg", { "aria-hidden": "true", preserveAspectRatio: "none", viewBox: `0 0 360 ${HEIGHT}` });
  readonly #cursor = draw("line", { class: "cursor", y1: 0, y2: HEIGHT });
  readonly #scale = make("span", { class: "scale", "aria-hidden": "true" });
  readonly #caption = make("figcaption");
  readonly #legend = make("ul", { class: "legend" });
  readonly #hint = make("p", { class: "hint", "aria-hidden": "true" });
  #data: ChartData | undefined;
  #start = 0;
  #cursorAt: number | undefined;

  constructor(kind: ChartKind) {
    this.#kind = kind;
    const plot = make("div", { class: "plot" }, this.#scale);
    plot.append(this.#svg);
    plot.addEventListener("pointermove", ({ clientX }) => this.#point(plot, clientX));
    plot.addEventListener("pointerleave", () => this.#moveCursor(undefined));
    const axis = make(
      "p",
      { class: "axis", "aria-hidden": "true" },
      make("span", {}, "60 min ago"),
      this.#hint,
      make("span", {}, "now"),
    );
    const title = make("h3", {}, kind.title, this.#now);
    this.element = make(
      "figure",
      { class: "chart", "data-chart": kind.name, "aria-label": kind.title },
      title,
      plot,
      axis,
      kind.hasLegend ? this.#legend : null,
      this.#caption,
    );
  }

  update(pool: PoolModel): void {
    this.#start = Math.floor(pool.now() / MINUTE_MS) * MINUTE_MS - HOUR_MS + MINUTE_MS;
    const data = this.#kind.read(pool, this.#start);
    this.#data = data;
    const length = data.series[0]?.values.length ?? 1;
    const totals = Array.from({ length }, (_, index) => sum(data.series.map(({ values }) => values[index] ?? 0)));
    const most = roundUp(Math.max(0, ...totals));
    setText(this.#now, data.now);
    setText(this.#scale, count(most));
    setText(this.#caption, data.summary);
    this.#drawSeries(data, most);
    this.#drawLegend(data);
    this.#showHint();
  }

  #drawSeries({ series }: ChartData, most: number): void {
    const floor = new Array<number>(series[0]?.values.length ?? 0).fill(0);
    const paths = series.map(({ values, color }) => {
      const path = this.#kind.isArea ? areaPath(values, most) : barPath(values, floor, most);
      for (const [index, value] of values.entries()) floor[index] = (floor[index] ?? 0) + value;
      return draw("path", { d: path, "data-color": color });
    });
    this.#svg.replaceChildren(...paths, this.#cursor);
  }

  #drawLegend({ series }: ChartData): void {
    const items = series.filter(({ values }) => sum(values) > 0);
    const text = items.map(({ name, values }) => `${name} ${sum(values)}`).join("\n");
    if (this.#legend.dataset.text === text) return;
    this.#legend.dataset.text = text;
    this.#legend.replaceChildren(
      ...items.map(({ name, color, values }) =>
        make("li", { "data-color": color }, make("bdi", {}, name), ` ${count(sum(values))}`),
      ),
    );
  }

  #point(plot: HTMLElement, clientX: number): void {
    const { left, width } = plot.getBoundingClientRect();
    this.#moveCursor(Math.max(0, Math.min(1, (clientX - left) / width)));
  }

  #moveCursor(part: number | undefined): void {
    this.#cursorAt = part;
    this.#showHint();
  }

  /** What the column below the pointer says. */
  #showHint(): void {
    const part = this.#cursorAt;
    setAttribute(this.#cursor, "visibility", part === undefined ? "hidden" : null);
    if (part === undefined || this.#data === undefined) {
      setText(this.#hint, "");
      return;
    }
    const { columnMs, series } = this.#data;
    const columns = HOUR_MS / columnMs;
    const index = Math.min(columns - 1, Math.floor(part * columns));
    const x = ((index + 0.5) * 360) / columns;
    setAttribute(this.#cursor, "x1", `${x}`);
    setAttribute(this.#cursor, "x2", `${x}`);
    const values = series.filter(({ values }) => (values[index] ?? 0) > 0);
    const text = values
      .map(({ name, values }) => `${name} ${count(Math.round((values[index] ?? 0) * 10) / 10)}`)
      .join(", ");
    setText(this.#hint, `${clockTime(this.#start + index * columnMs)}: ${text || "nothing"}`);
  }
}

function areaPath(values: readonly number[], most: number): string {
  const width = 360 / values.length;
  const points = values.map((value, index) => `L${index * width} ${heightOf(value, most)}H${(index + 1) * width}`);
  return `M0 ${HEIGHT}${points.join("")}L360 ${HEIGHT}Z`;
}

function barPath(values: readonly number[], floor: readonly number[], most: number): string {
  const width = 360 / values.length;
  return values
    .map((value, index) => {
      if (value === 0) return "";
      const low = heightOf(floor[index] ?? 0, most);
      const high = heightOf((floor[index] ?? 0) + value, most);
      return `M${index * width + 0.6} ${low}V${high}H${(index + 1) * width - 0.6}V${low}Z`;
    })
    .join("");
}

function heightOf(value: number, most: number): number {
  return Math.round((HEIGHT - (value / most) * (HEIGHT - 4)) * 10) / 10;
}

/** The drawings of the last hour. */
export class Charts {
  readonly #charts: readonly Chart[] = KINDS.map((kind) => new Chart(kind));

  constructor(section: HTMLElement) {
    const place = section.querySelector(".charts") ?? section;
    place.append(...this.#charts.map(({ element }) => element));
  }

  update(pool: PoolModel): void {
    for (const chart of this.#charts) chart.update(pool);
  }
}
