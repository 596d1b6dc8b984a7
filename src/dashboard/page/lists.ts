import type { IncidentRow, LeaseRow, RunRow, SessionRow } from "../frames.js";
import { make, setText } from "./dom.js";
import { hasFlag, type PoolModel } from "./pool-model.js";
import { ago, clockTime, count, counted, days, duration, visible } from "./text.js";

const MAX_INCIDENTS = 60;
const MAX_ACCOUNTS = 100;
/** Sessions of one account that are named. */
const MAX_SIBLINGS = 10;

/** A list below the table: drawn anew when what it says has changed. */
export class ListView {
  readonly #body = make("div", { class: "list" });
  readonly #itemsOf: (pool: PoolModel) => readonly ListItem[];
  readonly #empty: string;
  #text = "";

  constructor(section: HTMLElement, empty: string, itemsOf: (pool: PoolModel) => readonly ListItem[]) {
    this.#itemsOf = itemsOf;
    this.#empty = empty;
    section.append(this.#body);
  }

  update(pool: PoolModel): void {
    const items = this.#itemsOf(pool);
    const text = JSON.stringify(items);
    if (text === this.#text) return;
    this.#text = text;
    if (items.length === 0) {
      this.#body.replaceChildren(make("p", { class: "empty" }, this.#empty));
      return;
    }
    const open = new Set(
      Array.from(this.#body.querySelectorAll("details[open]"), (details) => details.getAttribute("data-key")),
    );
    this.#body.replaceChildren(make("ul", {}, ...items.map((item) => toElement(item, open))));
  }
}

/** One entry of a list. */
export interface ListItem {
  readonly key: string;
  readonly title: string;
  readonly value: string;
  readonly note?: string;
  readonly tone?: string;
  /** Part of a whole, 0 to 1. */
  readonly part?: number;
  /** Lines that are shown on demand, below such a title. */
  readonly more?: { readonly title: string; readonly text: string };
}

function toElement(
  { key, title, value, note, tone, part, more }: ListItem,
  open: ReadonlySet<string | null>,
): HTMLElement {
  const item = make(
    "li",
    { "data-tone": tone },
    make("bdi", { class: "title" }, title),
    make("span", { class: "value" }, value),
    note === undefined ? null : make("bdi", { class: "note" }, note),
  );
  if (part !== undefined) {
    const fill = make("i");
    fill.style.transform = `scaleX(${part.toFixed(3)})`;
    item.append(make("span", { class: "bar", "aria-hidden": "true" }, fill));
  }
  if (more !== undefined) {
    const details = make("details", { "data-key": key }, make("summary", {}, more.title), make("pre", {}, more.text));
    details.open = open.has(key);
    item.append(details);
  }
  return item;
}

/** The leases, the longest first, and where they were taken. */
export function leaseItems(pool: PoolModel): readonly ListItem[] {
  const now = pool.now();
  const leases = [...pool.leases.values()].sort((one, other) => one.leasedAt - other.leasedAt);
  const items = leases.slice(0, 50).map(({ key, id, leasedAt, stack }: LeaseRow): ListItem => {
    const more =
      stack === null
        ? {}
        : { more: { title: visible(placeOf(stack)), text: visible(stack).replaceAll("\u240a", "\n") } };
    return { key, title: visible(id), value: `held for ${duration(now - leasedAt)}`, ...more };
  });
  const hidden = (pool.status.leases ?? 0) - items.length;
  if (hidden > 0) items.push({ key: "more", title: `${counted(hidden, "more lease")}`, value: "held for less time" });
  return items;
}

/** The first line of a stack that is the user's own. */
function placeOf(stack: string): string {
  const lines = stack.split("\n").map((line) => line.trim().replace(/^at /, ""));
  return lines.find((line) => !/node_modules|node:|telegram-session-pool/.test(line)) ?? lines[0] ?? "";
}

/** The runs of `map`, the active ones first. */
export function runItems(pool: PoolModel): readonly ListItem[] {
  const runs = [...pool.runs.values()].sort(
    (one, other) => Number(one.hasEnded) - Number(other.hasEnded) || Number(other.key) - Number(one.key),
  );
  return runs.map((run) => runItem(run, pool.now()));
}

function runItem(run: RunRow, now: number): ListItem {
  const { key, name, done, total, failed, skipped, perSecond, etaAt, waitingUntil, uncertain, hasEnded } = run;
  const value = total === null ? `${count(done)} done` : `${count(done)} of ${count(total)}`;
  const notes = [
    hasEnded
      ? "ended"
      : perSecond === 0
        ? "under way"
        : `${perSecond < 10 ? perSecond : count(Math.round(perSecond))} /s`,
    failed > 0 ? `${count(failed)} failed` : "",
    skipped > 0 ? `${count(skipped)} done before` : "",
    waitingUntil !== null && waitingUntil > now ? `all rest, ${duration(waitingUntil - now)} more` : "",
    etaAt === null || done === total ? "" : `${duration(etaAt - now)} left`,
    uncertain > 0 ? `${count(uncertain)} uncertain` : "",
  ];
  const what = run.hasKeys ? "Keys of the uncertain items" : "Indexes of the uncertain items";
  const left = uncertain - run.uncertainItems.length;
  const lines = [...run.uncertainItems.map(visible), ...(left > 0 ? [`… and ${count(left)} more`] : [])];
  return {
    key,
    title: name === null ? `Run ${key}` : visible(name),
    value,
    note: notes.filter((note) => note !== "").join(" · "),
    ...(total === null || total === 0 ? {} : { part: Math.min(1, done / total) }),
    ...(uncertain > 0 && { tone: "bad", more: { title: what, text: lines.join("\n") } }),
  };
}

/** Which process holds how many sessions. */
export function processItems(pool: PoolModel): readonly ListItem[] {
  const held = new Map<string, { title: string; count: number; isSelf: boolean }>();
  for (const { holder } of pool.sessions.values()) {
    if (holder === null) continue;
    const key = `${holder.pid} ${holder.isLocal} ${holder.isSelf}`;
    const place = holder.isSelf ? " (this one)" : holder.isLocal ? "" : " (another host)";
    const known = held.get(key) ?? { title: `Process ${holder.pid}${place}`, count: 0, isSelf: holder.isSelf };
    known.count++;
    held.set(key, known);
  }
  return [...held]
    .sort(([, one], [, other]) => Number(other.isSelf) - Number(one.isSelf) || other.count - one.count)
    .map(([key, { title, count: number }]) => ({
      key,
      title,
      value: counted(number, "session"),
      part: number / Math.max(1, pool.status.total),
    }));
}

/** The sessions by the proxy that they connect through, and the trouble with each in the last hour. */
export function proxyItems(pool: PoolModel): readonly ListItem[] {
  const proxies = new Map<string, { sessions: number; connected: number; failures: number; failedAt: number }>();
  for (const { proxy, isConnected } of pool.sessions.values()) {
    const name = proxy ?? "";
    const known = proxies.get(name) ?? { sessions: 0, connected: 0, failures: 0, failedAt: 0 };
    known.sessions++;
    if (isConnected) known.connected++;
    proxies.set(name, known);
  }
  for (const incident of pool.incidents) {
    const row = pool.sessions.get(incident.sessionId ?? "");
    const known = row && proxies.get(row.proxy ?? "");
    if (known === undefined || incident.reason !== "proxyFailed" || incident.kind !== "backedOff") continue;
    known.failures++;
    known.failedAt = incident.at;
  }
  return [...proxies]
    .sort(([, one], [, other]) => other.failures - one.failures || other.sessions - one.sessions)
    .map(([name, { sessions, connected, failures, failedAt }]) => ({
      key: name,
      title: name === "" ? "Without a proxy" : visible(name),
      value: `${count(connected)} of ${counted(sessions, "session")} connected`,
      ...(failures > 0 && {
        tone: "bad",
        note: `${counted(failures, "failure")}, the last ${ago(pool.now() - failedAt)}`,
      }),
    }));
}

/** The accounts that need a look: frozen ones, those whose session ends soon, those of several sessions. */
export function accountItems(pool: PoolModel): readonly ListItem[] {
  const now = pool.now();
  const rows = [...pool.sessions.values()];
  const frozen = rows
    .filter((row) => hasFlag(pool, row, "frozen"))
    .sort(
      (one, other) =>
        (one.restrictedUntil ?? Number.POSITIVE_INFINITY) - (other.restrictedUntil ?? Number.POSITIVE_INFINITY),
    )
    .map((row) => frozenItem(row, now));
  const ending = rows
    .filter((row) => hasFlag(pool, row, "ends soon"))
    .sort((one, other) => (one.expiresAt ?? 0) - (other.expiresAt ?? 0))
    .map((row) => endingItem(row, now));
  const shared = [...pool.accounts]
    .filter(([, ids]) => ids.length > 1)
    .map(([account, ids]) => ({
      key: `account ${account}`,
      title: `Account ${account}`,
      value: counted(ids.length, "session"),
      note: ids.toSorted().slice(0, MAX_SIBLINGS).map(visible).join(", "),
    }));
  const items = [...frozen, ...ending, ...shared];
  const hidden = items.length - MAX_ACCOUNTS;
  if (hidden <= 0) return items;
  const more = { key: "more", title: `${count(hidden)} more`, value: "see the table" };
  return [...items.slice(0, MAX_ACCOUNTS), more];
}

function frozenItem({ id, restrictedUntil, accountId }: SessionRow, now: number): ListItem {
  const end =
    restrictedUntil === null
      ? "Telegram has named no end."
      : `Without an appeal Telegram deletes the account in ${days(restrictedUntil - now)}.`;
  const account = accountId === null ? "" : `Account ${accountId}. `;
  return {
    key: `frozen ${id}`,
    title: `${visible(id)} is frozen`,
    value: "reads only",
    note: `${account}${end}`,
    tone: "bad",
  };
}

function endingItem({ id, expiresAt }: SessionRow, now: number): ListItem {
  const left = days((expiresAt ?? now) - now);
  return {
    key: `ends ${id}`,
    title: `${visible(id)} ends soon`,
    value: `in ${left}`,
    note: "Unless it is used before then.",
    tone: "wait",
  };
}

const INCIDENT_TEXTS: Readonly<Record<string, readonly [text: string, tone?: string]>> = {
  cooled: ["cools down", "wait"],
  recovered: ["is available again", "good"],
  restricted: ["is restricted", "bad"],
  died: ["is dead", "bad"],
  backedOff: ["could not connect", "wait"],
  disconnected: ["lost its proxy", "bad"],
  ownershipLost: ["was lost to another process", "bad"],
  leaked: ["was taken back from a lease", "wait"],
  recordRejected: ["has a record that cannot be read", "bad"],
  storageFailed: ["The storage failed", "bad"],
};

/** The latest incidents first, after the records that cannot be read. */
export function incidentItems(pool: PoolModel): readonly ListItem[] {
  const rejected = [...pool.rejected.values()].map(
    ({ id, reason }): ListItem => ({
      key: `record ${id}`,
      title: `${visible(id)}: its record cannot be read`,
      value: "now",
      note: visible(reason),
      tone: "bad",
    }),
  );
  return [...rejected, ...pool.incidents.slice(-MAX_INCIDENTS).reverse().map(incidentItem)];
}

function incidentItem({ number, at, kind, sessionId, reason, until }: IncidentRow): ListItem {
  const [text, tone] = INCIDENT_TEXTS[kind] ?? [kind];
  const rest = until === null ? "" : ` for ${duration(until - at)}`;
  return {
    key: `${number}`,
    title: sessionId === null ? text : `${visible(sessionId)} ${text}${rest}`,
    value: clockTime(at),
    ...(reason !== null && { note: visible(reason) }),
    ...(tone !== undefined && { tone }),
  };
}

/** Shows a sentence, or nothing. */
export function showNotice(element: HTMLElement, text: string): void {
  element.hidden = text === "";
  setText(element, text);
}
