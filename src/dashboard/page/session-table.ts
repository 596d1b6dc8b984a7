import type { SessionState } from "../../session-info.js";
import type { SessionRow } from "../frames.js";
import { make, setAttribute, setText } from "./dom.js";
import { FLAGS, type Flag, hasFlag, type PoolModel, STATES } from "./pool-model.js";
import { arrange, type SessionView, type SortKey } from "./session-order.js";
import { SessionLine } from "./session-row.js";
import { count, counted, visible } from "./text.js";

const COLUMNS: readonly (readonly [sort: SortKey, title: string, style: string])[] = [
  ["id", "Session", "c-id"],
  ["state", "State", "c-state"],
  ["until", "Cools for", "c-until"],
  ["reason", "Reason", "c-reason"],
  ["holder", "Held by", "c-holder"],
  ["lastUsed", "Last used", "c-used"],
  ["proxy", "Proxy", "c-proxy"],
];

/** Lines that are kept ready above and below those that are seen. */
const OVERSCAN = 10;
/** Tags that can be chosen. */
const MAX_TAGS = 200;
const ALL: SessionView = { states: new Set(), flags: new Set(), tag: "", text: "", sort: "id", isDescending: false };

/** The table of all sessions. Of thousands of lines only those in sight are in the document. */
export class SessionTable {
  readonly #viewport: HTMLElement;
  readonly #body = make("tbody");
  readonly #above = make("tr", { class: "spacer", "aria-hidden": "true" }, make("td"));
  readonly #below = make("tr", { class: "spacer", "aria-hidden": "true" }, make("td"));
  readonly #table: HTMLTableElement;
  readonly #heads = new Map<SortKey, HTMLElement>();
  readonly #chips = new Map<SessionState, HTMLButtonElement>();
  readonly #flags = new Map<Flag, HTMLButtonElement>();
  readonly #search: HTMLInputElement;
  readonly #tags: HTMLSelectElement;
  readonly #summary = make("p", { class: "summary", role: "status" });
  readonly #onOpen: (row: SessionRow) => void;
  readonly #lines: SessionLine[] = [];
  #pool: PoolModel | undefined;
  #view: SessionView = ALL;
  #rows: readonly SessionRow[] = [];
  #version = -1;
  #isDrawing = false;
  #tagsText = "";

  /** `onOpen` is called with the session whose name was pressed. */
  constructor(section: HTMLElement, onOpen: (row: SessionRow) => void) {
    this.#onOpen = onOpen;
    this.#search = make("input", {
      type: "search",
      placeholder: "Id, tag, reason, method …",
      "aria-label": "Search sessions",
      spellcheck: "false",
      input: () => this.show({ text: this.#search.value }),
    });
    this.#tags = make("select", { "aria-label": "Tag", change: () => this.show({ tag: this.#tags.value }) });
    this.#table = make(
      "table",
      { "aria-labelledby": "sessions-title" },
      make("thead", {}, this.#headRow()),
      this.#body,
    );
    this.#viewport = make(
      "div",
      {
        class: "viewport",
        role: "region",
        tabindex: 0,
        "aria-label": "Table of sessions",
        scroll: () => this.#drawSoon(),
      },
      this.#table,
    );
    this.#viewport.addEventListener("keydown", (event) => this.#onKey(event));
    const chips = make(
      "div",
      { class: "chips", role: "group", "aria-label": "States" },
      ...STATES.map((state) => this.#chip(state)),
    );
    const flags = make(
      "div",
      { class: "chips flags", role: "group", "aria-label": "Accounts" },
      ...FLAGS.map((flag) => this.#flagChip(flag)),
    );
    const filters = make("div", { class: "filters" }, this.#search, this.#tags, chips, flags);
    section.append(filters, this.#viewport, this.#summary);
    this.#body.append(this.#above, this.#below);
    new ResizeObserver(() => this.#drawSoon()).observe(this.#viewport);
  }

  /** Changes which sessions are shown, and in which order. */
  show(change: Partial<SessionView>): void {
    this.#view = { ...this.#view, ...change };
    if (this.#search.value !== this.#view.text) this.#search.value = this.#view.text;
    this.#viewport.scrollTop = 0;
    this.#arrange();
  }

  /** Shows sessions of these states alone. */
  showStates(...states: readonly SessionState[]): void {
    this.show({ states: new Set(states), flags: new Set(), text: "", tag: "" });
  }

  /** Shows what is new of the pool. */
  update(pool: PoolModel): void {
    const isOther = pool !== this.#pool;
    this.#pool = pool;
    for (const [state, chip] of this.#chips) setText(chip.lastElementChild ?? chip, count(pool.status[state] ?? 0));
    if (isOther || pool.sessionsVersion !== this.#version) {
      this.#version = pool.sessionsVersion;
      this.#updateTags(pool);
      this.#updateFlags(pool);
      this.#arrange();
    } else this.#draw();
  }

  #headRow(): HTMLTableRowElement {
    const row = make("tr", { "aria-rowindex": 1 });
    for (const [sort, title, style] of COLUMNS) {
      const button = make("button", { type: "button", click: () => this.#sortBy(sort) }, title);
      const head = make("th", { scope: "col", class: style }, button);
      this.#heads.set(sort, head);
      row.append(head);
    }
    return row;
  }

  #chip(state: SessionState): HTMLButtonElement {
    const chip = make(
      "button",
      { type: "button", class: "chip", "data-state": state, "aria-pressed": "false", click: () => this.#toggle(state) },
      make("span", {}, state),
      make("b", {}, "0"),
    );
    this.#chips.set(state, chip);
    return chip;
  }

  #flagChip(flag: Flag): HTMLButtonElement {
    const click = (): void => this.show({ flags: toggled(this.#view.flags, flag) });
    const chip = make(
      "button",
      { type: "button", class: "chip", "data-flag": flag, "aria-pressed": "false", hidden: true, click },
      make("span", {}, flag),
      make("b", {}, "0"),
    );
    this.#flags.set(flag, chip);
    return chip;
  }

  /** Only flags that a session has can be chosen. */
  #updateFlags(pool: PoolModel): void {
    for (const [flag, chip] of this.#flags) {
      let number = 0;
      for (const row of pool.sessions.values()) if (hasFlag(pool, row, flag)) number++;
      setText(chip.lastElementChild ?? chip, count(number));
      chip.hidden = number === 0 && !this.#view.flags.has(flag);
    }
  }

  #toggle(state: SessionState): void {
    this.show({ states: toggled(this.#view.states, state) });
  }

  #sortBy(sort: SortKey): void {
    const isDescending = this.#view.sort === sort && !this.#view.isDescending;
    this.show({ sort, isDescending });
  }

  #arrange(): void {
    if (this.#pool === undefined) return;
    const { sessions } = this.#pool;
    this.#rows = arrange(this.#pool, this.#view);
    for (const [sort, head] of this.#heads) {
      const order = this.#view.isDescending ? "descending" : "ascending";
      setAttribute(head, "aria-sort", sort === this.#view.sort ? order : null);
    }
    for (const [state, chip] of this.#chips) setAttribute(chip, "aria-pressed", `${this.#view.states.has(state)}`);
    for (const [flag, chip] of this.#flags) setAttribute(chip, "aria-pressed", `${this.#view.flags.has(flag)}`);
    setAttribute(this.#table, "aria-rowcount", `${this.#rows.length + 1}`);
    const isAll = this.#rows.length === sessions.size;
    setText(
      this.#summary,
      isAll ? counted(sessions.size, "session") : `${count(this.#rows.length)} of ${counted(sessions.size, "session")}`,
    );
    this.#draw();
  }

  #updateTags({ sessions }: PoolModel): void {
    const tags = new Set<string>();
    for (const row of sessions.values()) for (const tag of row.tags) if (tags.size < MAX_TAGS) tags.add(tag);
    const sorted = [...tags].sort();
    const text = JSON.stringify(sorted);
    if (text === this.#tagsText) return;
    this.#tagsText = text;
    const options = sorted.map((tag) => make("option", { value: tag }, visible(tag)));
    this.#tags.replaceChildren(make("option", { value: "" }, "All tags"), ...options);
    this.#tags.value = tags.has(this.#view.tag) ? this.#view.tag : "";
    this.#tags.hidden = tags.size === 0;
  }

  #drawSoon(): void {
    if (this.#isDrawing) return;
    this.#isDrawing = true;
    requestAnimationFrame(() => this.#draw());
  }

  get #lineHeight(): number {
    return Number.parseFloat(getComputedStyle(this.#table).getPropertyValue("--line-height")) || 44;
  }

  #draw(): void {
    this.#isDrawing = false;
    if (this.#pool === undefined) return;
    const now = this.#pool.now();
    const height = this.#lineHeight;
    const seen = Math.ceil(this.#viewport.clientHeight / height) + 2 * OVERSCAN;
    const first = Math.max(
      0,
      Math.min(Math.floor(this.#viewport.scrollTop / height) - OVERSCAN, this.#rows.length - seen),
    );
    const rows = this.#rows.slice(first, first + seen);
    this.#resize(rows.length);
    for (const [index, row] of rows.entries()) this.#lines[index]?.fill(row, first + index, now);
    this.#above.style.height = `${first * height}px`;
    this.#below.style.height = `${Math.max(0, this.#rows.length - first - rows.length) * height}px`;
  }

  /** Makes or removes lines so that there are as many as that. */
  #resize(length: number): void {
    while (this.#lines.length > length) this.#lines.pop()?.element.remove();
    while (this.#lines.length < length) {
      const line = new SessionLine();
      line.element.addEventListener("click", () => {
        if (line.row !== undefined) this.#onOpen(line.row);
      });
      this.#lines.push(line);
      this.#below.before(line.element);
    }
  }

  /** The arrow keys move from line to line, over those that are not in the document as well. */
  #onKey(event: KeyboardEvent): void {
    const page = Math.max(1, Math.floor(this.#viewport.clientHeight / this.#lineHeight) - 2);
    const steps: Readonly<Record<string, number>> = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: page,
      PageUp: -page,
      Home: Number.NEGATIVE_INFINITY,
      End: Number.POSITIVE_INFINITY,
    };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const line = this.#lines.find(({ name }) => name === document.activeElement);
    const current = line === undefined ? -1 : Number(line.element.getAttribute("aria-rowindex")) - 2;
    this.#focus(Math.max(0, Math.min(this.#rows.length - 1, current + step)));
  }

  #focus(index: number): void {
    const height = this.#lineHeight;
    const top = index * height;
    const { scrollTop, clientHeight } = this.#viewport;
    const head = this.#table.tHead?.offsetHeight ?? 0;
    if (top < scrollTop) this.#viewport.scrollTop = top;
    else if (top + height > scrollTop + clientHeight - head)
      this.#viewport.scrollTop = top + height - clientHeight + head;
    this.#draw();
    const line = this.#lines.find(({ element }) => element.getAttribute("aria-rowindex") === `${index + 2}`);
    line?.name.focus({ preventScroll: true });
  }
}

function toggled<Value>(values: ReadonlySet<Value>, value: Value): ReadonlySet<Value> {
  const changed = new Set(values);
  if (!changed.delete(value)) changed.add(value);
  return changed;
}
