import type { SessionState } from "../session-info.js";
import { isFreeze } from "../telegram/verdicts.js";
import { processName, type StoredSession, type StoredSessions } from "./stored-sessions.js";
import { type Cell, type Column, formatTable } from "./table.js";
import type { Style, Terminal } from "./terminal.js";
import { durationText, instantText } from "./time-text.js";

const STYLES: Readonly<Record<SessionState, Style>> = {
  free: "green",
  leased: "cyan",
  foreign: "cyan",
  cooling: "yellow",
  restricted: "magenta",
  dead: "red",
  disabled: "gray",
};

const COLUMNS: readonly Column[] = [
  { title: "ID", min: 8 },
  { title: "STATE", min: 10 },
  { title: "UNTIL", min: 8, rank: 3 },
  { title: "WHY", min: 10, rank: 2 },
  { title: "PROCESS", min: 7, rank: 1 },
];

/** The table of `status`: one line for each account, after the line of titles. */
export function statusTable(sessions: readonly StoredSession[], terminal: Terminal, now: number): readonly string[] {
  const rows = sessions.map((session): readonly Cell[] => [
    { text: session.id },
    { text: session.state, paint: (text) => terminal.paint(STYLES[session.state], text) },
    { text: untilText(session, now) },
    { text: reasonText(session, now) },
    { text: processName(session) },
  ]);
  const [titles = "", ...lines] = formatTable(COLUMNS, rows, terminal.columns);
  return [terminal.paint("bold", titles), ...lines];
}

/** The counts of all accounts, and when the next one is free. */
export function statusSummary({ status, rejected }: StoredSessions, now: number): readonly string[] {
  const { total, nextAvailableAt, ...counts } = status;
  const named = Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([state, count]) => `${count} ${state}`);
  const unreadable = rejected.length === 0 ? [] : [`${rejected.length} unreadable`];
  const accounts = `${total} ${total === 1 ? "account" : "accounts"}`;
  return [[accounts, [...named, ...unreadable].join(", ")].filter((part) => part !== "").join(": "), nextText()];

  function nextText(): string {
    if (total === 0) return "";
    if (nextAvailableAt === null) return "Next free: none that is known.";
    if (nextAvailableAt <= now) return "Next free: now.";
    return `Next free: ${instantText(nextAvailableAt, now)}, in ${durationText(nextAvailableAt - now)}.`;
  }
}

function untilText({ availableAt, restrictedUntil, reason }: StoredSession, now: number): string {
  if (availableAt !== null) return `${instantText(availableAt, now)} (${durationText(availableAt - now)})`;
  if (restrictedUntil === null) return "";
  // Telegram names the end of a freeze; any other is a guess.
  return isFreeze(reason) ? instantText(restrictedUntil, now) : `about ${instantText(restrictedUntil, now)}`;
}

/** A cooldown of one method or peer leaves the account free; it is shown as the reason nevertheless. */
function reasonText({ reason, partialCooldowns }: StoredSession, now: number): string {
  if (reason !== null) return reason;
  const [first, ...others] = Object.entries(partialCooldowns).sort(([, one], [, other]) => other - one);
  if (first === undefined) return "";
  const [name, until] = first;
  const more = others.length === 0 ? "" : ` and ${others.length} more`;
  return `not for ${name} (${durationText(until - now)})${more}`;
}
