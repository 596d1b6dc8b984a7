import { cutText } from "./table.js";
import type { Terminal } from "./terminal.js";

const ESCAPE = "\u001b[";
const HIDE_CURSOR = `${ESCAPE}?25l`;
const SHOW_CURSOR = `${ESCAPE}?25h`;
const CLEAR_BELOW = `${ESCAPE}0J`;
const CLEAR_SCREEN = `${ESCAPE}2J${ESCAPE}H`;

/** Lines at the end of a terminal that are drawn over in place. */
export class LiveView {
  readonly #terminal: Terminal;
  readonly #stream: Terminal["stdout"];
  #drawn = 0;
  #lines: readonly string[] = [];
  #isResized = false;
  readonly #onResize = (): void => {
    this.#isResized = true;
  };

  /** `stream` is what it draws on: stdout or stderr of the terminal. */
  constructor(terminal: Terminal, stream: Terminal["stdout"]) {
    this.#terminal = terminal;
    this.#stream = stream;
    stream.on("resize", this.#onResize);
    stream.write(HIDE_CURSOR);
  }

  /** Shows these lines instead of the former ones; those for which there is no room are counted in the last line. */
  draw(lines: readonly string[]): void {
    this.#lines = lines;
    const room = Math.max(1, this.#terminal.rows - 1);
    const hidden = lines.length - room;
    const shown = hidden > 0 ? [...lines.slice(0, room - 1), `… ${hidden + 1} more lines`] : lines;
    // What the terminal has wrapped at its new width cannot be counted.
    const home = this.#isResized ? CLEAR_SCREEN : this.#upToFirst();
    this.#isResized = false;
    this.#stream.write(`${home}${shown.map((line) => `${line}${ESCAPE}0K\n`).join("")}${CLEAR_BELOW}`);
    this.#drawn = shown.length;
  }

  /** Prints a line that stays, above those that are drawn over. */
  log(line: string): void {
    const lines = this.#lines;
    this.#stream.write(`${this.#upToFirst()}${CLEAR_BELOW}${line}\n`);
    this.#drawn = 0;
    if (lines.length > 0) this.draw(lines);
  }

  /** Ends drawing; the last lines stay unless they are to go. */
  end(options: { readonly erase?: boolean } = {}): void {
    this.#stream.off("resize", this.#onResize);
    if (options.erase === true && this.#drawn > 0) this.#stream.write(`${this.#upToFirst()}${CLEAR_BELOW}`);
    this.#stream.write(SHOW_CURSOR);
  }

  #upToFirst(): string {
    return this.#drawn === 0 ? "" : `${ESCAPE}${this.#drawn}A\r`;
  }
}

const BAR_WIDTH = 24;

/** One line of progress: `"████░░░░ 3/10 alice"`. */
export function progressLine(done: number, total: number, note: string, columns: number): string {
  const size = Math.max(4, Math.min(BAR_WIDTH, columns - 20));
  const filled = total === 0 ? size : Math.round((Math.min(done, total) / total) * size);
  const bar = "█".repeat(filled) + "░".repeat(size - filled);
  return cutText(`${bar} ${done}/${total}  ${note}`, columns - 1);
}
