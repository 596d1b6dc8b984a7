import type { SessionRow } from "../frames.js";
import { make, setAttribute, setText } from "./dom.js";
import { blockedUntil, SOON_MS } from "./pool-model.js";
import { ago, counted, days, duration, shortMethod, visible } from "./text.js";

/** The longest wait for which the bar of a cooldown grows; the scale is logarithmic. */
const FULL_BAR_MS = 86_400_000;

/** Part of a full bar for a wait. */
export function barPart(ms: number): number {
  return ms <= 0 ? 0 : Math.min(1, Math.max(0.04, Math.log1p(ms / 1_000) / Math.log1p(FULL_BAR_MS / 1_000)));
}

/** The process of a session in words. */
export function holderText({ holder }: SessionRow): string {
  if (holder === null) return "";
  if (holder.isSelf) return "this process";
  return holder.isLocal ? `process ${holder.pid}` : `process ${holder.pid}, another host`;
}

/** The cooldowns of methods and peers in a few words: the first to end, and how many more there are. */
function partialText({ methods, peers }: SessionRow, now: number): string {
  const all = [...methods, ...peers].filter(([, until]) => until > now);
  const [first] = all;
  if (first === undefined) return "";
  const name = methods.includes(first) ? shortMethod(first[0]) : visible(first[0]);
  const more = all.length > 1 ? ` +${all.length - 1}` : "";
  return `${name} ${duration(first[1] - now)}${more}`;
}

/** What is urgent about the account in a few words. */
function flagText({ isFrozen, expiresAt, state }: SessionRow, now: number): string {
  const leftMs = expiresAt === null || state === "dead" ? Number.POSITIVE_INFINITY : expiresAt - now;
  const end = leftMs < SOON_MS ? `ends in ${days(leftMs)}` : "";
  return [isFrozen ? "frozen" : "", end].filter((part) => part !== "").join(" · ");
}

/** One line of the table: its elements are made once, and filled with one session after the other. */
export class SessionLine {
  readonly element: HTMLTableRowElement;
  readonly name: HTMLButtonElement = make("button", { type: "button", class: "name" });
  row: SessionRow | undefined;
  readonly #tags = make("span", { class: "tags" });
  readonly #state = make("span", { class: "state" });
  readonly #flags = make("span", { class: "flag" });
  readonly #bar = make("i");
  readonly #left = make("span", { class: "left" });
  readonly #partial = make("span", { class: "partial" });
  readonly #reason = make("bdi");
  readonly #holder = make("span");
  readonly #lastUsed = make("span");
  readonly #proxy = make("bdi");

  constructor() {
    this.element = make(
      "tr",
      {},
      make("th", { scope: "row", class: "c-id" }, make("bdi", {}, this.name), this.#tags),
      make("td", { class: "c-state" }, this.#state, this.#flags),
      make(
        "td",
        { class: "c-until" },
        make("span", { class: "bar", "aria-hidden": "true" }, this.#bar),
        this.#left,
        this.#partial,
      ),
      make("td", { class: "c-reason" }, this.#reason),
      make("td", { class: "c-holder" }, this.#holder),
      make("td", { class: "c-used" }, this.#lastUsed),
      make("td", { class: "c-proxy" }, this.#proxy),
    );
  }

  /** Shows a session, the line `index` of all. */
  fill(row: SessionRow, index: number, now: number): void {
    if (this.row !== row) {
      this.row = row;
      setText(this.name, visible(row.id));
      setText(this.#tags, row.tags.map(visible).join(" · "));
      setText(this.#state, row.state);
      setAttribute(this.#state, "data-state", row.state);
      setText(this.#reason, visible(row.reason ?? ""));
      setAttribute(this.#reason, "title", row.reason === null ? null : visible(row.reason));
      setText(this.#holder, holderText(row));
      setText(this.#proxy, row.proxy === null ? "" : visible(row.proxy.replace(" proxy", "")));
    }
    setAttribute(this.element, "aria-rowindex", `${index + 2}`);
    this.#tick(row, now);
  }

  #tick(row: SessionRow, now: number): void {
    const until = blockedUntil(row);
    const leftMs = until === null ? 0 : Math.max(0, until - now);
    this.#bar.style.transform = `scaleX(${barPart(leftMs).toFixed(3)})`;
    setAttribute(this.#bar, "data-state", row.state);
    setText(this.#left, until === null ? "" : leftMs === 0 ? "ends now" : duration(leftMs));
    setText(this.#flags, flagText(row, now));
    setText(this.#partial, partialText(row, now));
    setText(
      this.#lastUsed,
      row.state === "leased" ? "in use" : row.lastUsedAt === null ? "never" : ago(now - row.lastUsedAt),
    );
  }
}

/** Both kinds of partial cooldowns, counted. */
export function partialCount({ methods, peers }: SessionRow): string {
  return [
    methods.length > 0 ? counted(methods.length, "method") : "",
    peers.length > 0 ? counted(peers.length, "peer") : "",
  ]
    .filter((part) => part !== "")
    .join(", ");
}
