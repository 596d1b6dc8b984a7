import type { SessionInfo } from "../../session-info.js";
import type { TestServerReport } from "../../testing/test-server/report.js";
import type { Terminal } from "../terminal.js";
import type { Job } from "./data.js";

/** The evidence of a run: what the pool reports, and what the test server has recorded independently. */
export interface Evidence {
  readonly jobs: readonly Job[];
  readonly resolved: ReadonlySet<string>;
  readonly sessions: readonly SessionInfo[];
  /** The same sessions, in a pool that was reopened on the same file. */
  readonly afterRestart: readonly SessionInfo[];
  readonly server: TestServerReport;
  readonly tookMs: number;
}

/** Prints what every account did, and whether each promise was kept. Whether all of them were. */
export function printReport(evidence: Evidence, terminal: Terminal): boolean {
  terminal.print(`\nWhat the test server saw:\n\n${table(rows(evidence))}\n`);
  const checks = judge(evidence);
  for (const { isKept, text } of checks) {
    terminal.print(`  ${isKept ? terminal.paint("green", "ok") : terminal.paint("red", "NO")}  ${text}`);
  }
  const isAllKept = checks.every(({ isKept }) => isKept);
  const seconds = (evidence.tookMs / 1_000).toFixed(1);
  terminal.print(`\n${isAllKept ? "All of it held" : "NOT all of it held"}, in ${seconds} s.`);
  return isAllKept;
}

function rows({ sessions, server }: Evidence): readonly (readonly string[])[] {
  const { calls, messages, waits } = server;
  const of = <T extends { readonly account: string }>(list: readonly T[], id: string): number =>
    list.filter(({ account }) => account === id).length;
  const lines = sessions.map(({ id, state, reason }) => [
    id,
    `${of(calls, id)}`,
    `${of(messages, id)}`,
    `${of(waits, id)}`,
    `${waits.filter(({ account }) => account === id).reduce((sum, { seconds }) => sum + seconds, 0)} s`,
    state === "dead" ? `dead: ${reason}` : state,
  ]);
  const waited = waits.reduce((sum, { seconds }) => sum + seconds, 0);
  const total = ["total", `${calls.length}`, `${messages.length}`, `${waits.length}`, `${waited} s`, ""];
  return [["account", "calls", "messages", "floods", "waited", "at the end"], ...lines, total];
}

function judge(evidence: Evidence): readonly { readonly isKept: boolean; readonly text: string }[] {
  const { jobs, resolved, sessions, afterRestart, server } = evidence;
  const { messages, violations, maxConnectionsPerKey } = server;
  const wanted = new Set(jobs.flatMap((job) => (job.kind === "message" ? [job.text] : [])));
  const usernames = jobs.filter(({ kind }) => kind === "username").length;
  const arrived = new Set(messages.map(({ text }) => text));
  const duplicates = messages.length - arrived.size;
  const missing = [...wanted].filter((text) => !arrived.has(text)).length;
  return [
    { isKept: missing === 0, text: `${wanted.size - missing} of ${wanted.size} messages arrived` },
    {
      isKept: duplicates === 0,
      text: `${duplicates} duplicates: every message arrived exactly once`,
    },
    { isKept: resolved.size === usernames, text: `${resolved.size} of ${usernames} usernames were resolved` },
    { isKept: violations.length === 0, text: `${violations.length} violations: no call while its account had to wait` },
    { isKept: maxConnectionsPerKey <= 1, text: `${maxConnectionsPerKey} connection per auth key at most` },
    {
      isKept: isRemembered(sessions, afterRestart),
      text: "a restart remembers who is dead, and who cools down until when",
    },
  ];
}

/** Returns whether dead sessions are still dead, and cooldowns that have not ended yet still end at the same instant. */
function isRemembered(before: readonly SessionInfo[], after: readonly SessionInfo[]): boolean {
  const known = new Map(after.map((session) => [session.id, session]));
  return before.every(({ id, state, reason, availableAt }) => {
    const now = known.get(id);
    if (state === "dead") return now?.state === "dead" && now.reason === reason;
    if (availableAt === null || availableAt <= Date.now()) return now !== undefined;
    return now?.availableAt === availableAt;
  });
}

/** Columns: the first and the last to the left, numbers to the right. */
function table(lines: readonly (readonly string[])[]): string {
  const columns = lines[0] ?? [];
  const widths = columns.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const isText = (column: number): boolean => column === 0 || column === columns.length - 1;
  const format = (line: readonly string[]): string =>
    line.map((cell, at) => (isText(at) ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0))).join("   ");
  const rule = widths.map((width) => "─".repeat(width)).join("   ");
  return [format(columns), rule, ...lines.slice(1, -1).map(format), rule, format(lines.at(-1) ?? [])]
    .map((line) => `  ${line}`.trimEnd())
    .join("\n");
}
