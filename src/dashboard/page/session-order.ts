import type { SessionState } from "../../session-info.js";
import type { SessionRow } from "../frames.js";
import { blockedUntil, type Flag, hasFlag, type PoolModel, STATES } from "./pool-model.js";

/** Columns by which the table can be sorted. */
export type SortKey = "id" | "state" | "until" | "reason" | "holder" | "lastUsed" | "proxy";

/** Which sessions are shown, and in which order. */
export interface SessionView {
  /** Shown states; all, if there are none. */
  readonly states: ReadonlySet<SessionState>;
  /** Flags of which each shown session has one; all sessions, if there are none. */
  readonly flags: ReadonlySet<Flag>;
  readonly tag: string;
  readonly text: string;
  readonly sort: SortKey;
  readonly isDescending: boolean;
}

const NAMES = new Intl.Collator("en", { numeric: true });
const LAST = Number.POSITIVE_INFINITY;

/** What a session is sorted by. Texts that are missing come last. */
function sortValueOf(row: SessionRow, sort: SortKey): string | number {
  switch (sort) {
    case "id":
      return row.id;
    case "state":
      return STATES.indexOf(row.state);
    case "until":
      return blockedUntil(row) ?? row.methods[0]?.[1] ?? row.peers[0]?.[1] ?? LAST;
    case "reason":
      return row.reason ?? "\uffff";
    case "holder":
      return row.holder?.pid ?? LAST;
    case "lastUsed":
      return row.lastUsedAt === null ? LAST : -row.lastUsedAt;
    case "proxy":
      return row.proxy ?? "\uffff";
  }
}

function compareValues(one: string | number, other: string | number): number {
  if (typeof one === "string" && typeof other === "string") return NAMES.compare(one, other);
  return one === other ? 0 : one < other ? -1 : 1;
}

function matches(pool: PoolModel, row: SessionRow, view: SessionView, text: string): boolean {
  if (view.states.size > 0 && !view.states.has(row.state)) return false;
  if (view.flags.size > 0 && ![...view.flags].some((flag) => hasFlag(pool, row, flag))) return false;
  if (view.tag !== "" && !row.tags.includes(view.tag)) return false;
  return text === "" || searchTextOf(row).includes(text);
}

/** Computed once for each row that was received. */
const searchTexts = new WeakMap<SessionRow, string>();

function searchTextOf(row: SessionRow): string {
  const known = searchTexts.get(row);
  if (known !== undefined) return known;
  const { id, reason, tags, accountId, holder, proxy, methods, peers } = row;
  const names = [...methods, ...peers].map(([name]) => name);
  const text = [id, reason, ...tags, accountId, holder?.pid, proxy, ...names].join("\n").toLowerCase();
  searchTexts.set(row, text);
  return text;
}

/** The sessions that a view of a pool shows, in its order. */
export function arrange(pool: PoolModel, view: SessionView): readonly SessionRow[] {
  const text = view.text.trim().toLowerCase();
  const shown: { readonly row: SessionRow; readonly value: string | number }[] = [];
  for (const row of pool.sessions.values()) {
    if (matches(pool, row, view, text)) shown.push({ row, value: sortValueOf(row, view.sort) });
  }
  const sign = view.isDescending ? -1 : 1;
  shown.sort((one, other) => sign * compareValues(one.value, other.value) || NAMES.compare(one.row.id, other.row.id));
  return shown.map(({ row }) => row);
}
