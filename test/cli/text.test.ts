import { PassThrough } from "node:stream";
import { describe, expect, test } from "vitest";
import { progressLine } from "../../src/cli/live-view.js";
import { ProgressView } from "../../src/cli/progress-bar.js";
import { type Cell, cutText, formatTable, widthOf } from "../../src/cli/table.js";
import { Terminal } from "../../src/cli/terminal.js";
import { durationText, instantText } from "../../src/cli/time-text.js";

const row = (...texts: readonly string[]): readonly Cell[] => texts.map((text) => ({ text }));
const COLUMNS = [
  { title: "ID", min: 4 },
  { title: "STATE", min: 5 },
  { title: "WHY", min: 4, rank: 1 },
];

describe("formatTable()", () => {
  test("enough room - each column as wide as its longest cell", () => {
    expect(formatTable(COLUMNS, [row("alice", "free", ""), row("b", "disabled", "on holiday")], 80)).toEqual([
      "ID     STATE     WHY",
      "alice  free",
      "b      disabled  on holiday",
    ]);
  });

  test("a narrow terminal - the widest cells are cut, then the column of the lowest rank is left out", () => {
    const rows = [row("a-long-name", "cooling", "a long reason")];
    expect(formatTable(COLUMNS, rows, 24)).toEqual(["ID      STATE    WHY", "a-lon…  cooling  a long…"]);
    expect(formatTable(COLUMNS, rows, 14)).toEqual(["ID      STATE", "a-lon…  cooli…"]);
  });

  test.each([1, 5, 10, 20, 40])("at most %i columns wide, as far as the columns that stay allow", (width) => {
    const lines = formatTable(COLUMNS, [row("a-long-name", "restricted", "a long reason")], width);
    expect(Math.max(...lines.map(widthOf))).toBeLessThanOrEqual(Math.max(width, 11));
  });

  test("wide characters - take two columns", () => {
    expect(formatTable(COLUMNS, [row("账户", "free", ""), row("alice", "dead", "")], 80).slice(1)).toEqual([
      "账户   free",
      "alice  dead",
    ]);
  });

  test("control characters - cannot reach the terminal", () => {
    expect(cutText("a\u001b[2Jb\nc", 20)).toBe("a\uFFFD[2Jb\uFFFDc");
  });
});

test.each([
  [0, "0 s"],
  [1, "1 s"],
  [59_001, "1 min"],
  [250_000, "4 min 10 s"],
  [3_600_000, "1 h"],
  [90_061_000, "1 d 1 h"],
])("durationText() - %i ms: %s", (milliseconds, text) => {
  expect(durationText(milliseconds)).toBe(text);
});

test("instantText() - today the time alone, otherwise the day as well", () => {
  const now = new Date(2026, 10, 28, 12, 0, 0).getTime();
  expect(instantText(now + 65_000, now)).toBe("12:01:05");
  expect(instantText(now + 86_400_000, now)).toBe("2026-11-29 12:00");
});

test("progressLine() - fits the terminal", () => {
  expect(progressLine(1, 4, "alice", 80)).toBe(`${"█".repeat(6)}${"░".repeat(18)} 1/4  alice`);
  expect(widthOf(progressLine(3, 4, "a name that is long", 30))).toBeLessThan(30);
});

describe("ProgressView", () => {
  function shown(steps: readonly number[], isTTY = true): string {
    const stderr = Object.assign(new PassThrough(), { isTTY, columns: 80, rows: 24 });
    const stdout = Object.assign(new PassThrough(), { columns: 80, rows: 24 });
    const streams = { stdin: process.stdin, stdout, stderr, env: {} };
    const view = new ProgressView(new Terminal(streams as never, () => {}), "accounts");
    for (const done of steps) view.show({ done, total: 4 });
    view.end();
    let text = "";
    // Node.js 26 returns one chunk at a time.
    for (let chunk = stderr.read(); chunk !== null; chunk = stderr.read()) text += String(chunk);
    return text;
  }

  test("progress short of the end - draws a bar, and erases it", () => {
    const text = shown([1, 4]);
    expect(text).toContain("░ 1/4  accounts");
    expect(text).toContain("█ 4/4  accounts");
    expect(text.endsWith("0J\u001b[?25h")).toBe(true);
  });

  test("all at once, or without a terminal - draws nothing", () => {
    expect([shown([4]), shown([1, 4], false)]).toEqual(["", ""]);
  });
});
