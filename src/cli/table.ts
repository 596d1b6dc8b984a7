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
  let shown: readonly ShownColumn[] = columns.map(({ title, min, rank }, index) => {
    const longest = rows.reduce((size, row) => Math.max(size, widthOf(row[index]?.text ?? "")), title.length);
    return {
      index,
      rank: rank ?? Number.POSITIVE_INFINITY,
      min: Math.min(longest, min ?? title.length),
      size: longest,
    };
  });
  const excess = (): number => shown.reduce((sum, { size }) => sum + size, GAP.length * (shown.length - 1)) - width;
  while (excess() > 0) {
    const widest = shown
      .filter(({ size, min }) => size > min)
      .reduce<ShownColumn | undefined>(
        (best, next) => (best === undefined || next.size > best.size ? next : best),
        undefined,
      );
    if (widest !== undefined) {
      widest.size -= 1;
      continue;
    }
    const least = shown.reduce((best, next) => (next.rank < best.rank ? next : best));
    if (!Number.isFinite(least.rank)) return shown;
    shown = shown.filter((column) => column !== least);
  }
  return shown;
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
