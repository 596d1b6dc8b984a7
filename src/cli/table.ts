/** One cell: its text, and how it is painted once it has its width. */
export interface Cell {
  readonly text: string;
  readonly paint?: ((text: string) => string) | undefined;
}

/** One column of a table. */
export interface Column {
  readonly title: string;
  /** The fewest characters it can be cut to. @default its title's length */
  readonly min?: number;
  /** Columns of the lowest rank are left out first where the terminal is too narrow. @default never left out */
  readonly rank?: number;
}

const GAP = "  ";

/**
 * Lines of a table that is at most `width` characters wide: cells are cut where it would be wider, then columns left out.
 * The first line holds the titles.
 */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  width: number,
): readonly string[] {
  const shown = fitColumns(columns, rows, width);
  const line = (cells: readonly Cell[]): string =>
    shown
      .map(({ index, size }) => format(cells[index] ?? { text: "" }, size))
      .join(GAP)
      .trimEnd();
  return [line(columns.map(({ title }) => ({ text: title }))), ...rows.map(line)];
}

interface ShownColumn {
  readonly index: number;
  readonly rank: number;
  readonly min: number;
  size: number;
}

function fitColumns(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  width: number,
): readonly ShownColumn[] {
  const all = columns.map(({ title, min = title.length, rank = Number.POSITIVE_INFINITY }, index) => {
    const longest = rows.reduce((size, row) => Math.max(size, widthOf(row[index]?.text ?? "")), title.length);
    return { index, rank, min: Math.min(longest, min), size: longest };
  });
  for (let shown = all; ; ) {
    const sizes = shown.map((column) => ({ ...column }));
    const least = shown.reduce((best, next) => (next.rank < best.rank ? next : best));
    if (shrink(sizes, width) || !Number.isFinite(least.rank)) return sizes;
    shown = shown.filter((column) => column !== least);
  }
}

/** Shrinks the widest columns until the line fits. Whether it does. */
function shrink(columns: readonly ShownColumn[], width: number): boolean {
  const room = width - GAP.length * (columns.length - 1);
  for (let total = columns.reduce((sum, { size }) => sum + size, 0); total > room; total--) {
    const [widest] = columns.filter(({ size, min }) => size > min).sort((one, other) => other.size - one.size);
    if (widest === undefined) return false;
    widest.size -= 1;
  }
  return true;
}

function format({ text, paint = (plain) => plain }: Cell, size: number): string {
  const cut = cutText(text, size);
  return `${paint(cut)}${" ".repeat(Math.max(0, size - widthOf(cut)))}`;
}

/** Cuts a text to `size` columns of a terminal. */
export function cutText(text: string, size: number): string {
  const clean = printable(text);
  if (widthOf(clean) <= size) return clean;
  let cut = "";
  let taken = 0;
  for (const character of clean) {
    taken += widthOf(character);
    if (taken > size - 1) break;
    cut += character;
  }
  return size < 1 ? "" : `${cut}…`;
}

/** What is stored may hold anything: control characters would move the cursor, or more. */
export function printable(text: string): string {
  return text.replace(/\p{C}/gu, "\uFFFD");
}

/** Blocks that terminals draw two columns wide. Source: unicode.org/reports/tr11, W and F. */
const WIDE =
  /[\u1100-\u115F\u2E80-\uA4CF\uAC00-\uD7A3\uF900-\uFAFF\uFE30-\uFE6F\uFF00-\uFF60\uFFE0-\uFFE6\u{1F300}-\u{1FAFF}\u{20000}-\u{3FFFD}]/u;

/** The columns a text takes in a terminal. */
export function widthOf(text: string): number {
  let width = 0;
  for (const character of text) {
    if (/\p{M}|\u200D|\uFE0F/u.test(character)) continue;
    width += WIDE.test(character) ? 2 : 1;
  }
  return width;
}

/** Wraps a text at its spaces into lines of at most `width` characters; a longer word keeps a line of its own. */
export function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
