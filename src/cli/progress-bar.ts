import { LiveView, progressLine } from "./live-view.js";
import type { Terminal } from "./terminal.js";

/** A bar on stderr while something takes its time. Without a terminal there is none. */
export class ProgressBar {
  readonly #terminal: Terminal;
  readonly #total: number;
  readonly #view: LiveView | undefined;
  #done = 0;

  constructor(terminal: Terminal, total: number) {
    this.#terminal = terminal;
    this.#total = total;
    this.#view = terminal.isNoteLive && total > 1 ? new LiveView(terminal, terminal.stderr) : undefined;
    this.#draw("");
  }

  /** One more is done; `note` says which. */
  advance(note: string): void {
    this.#done++;
    this.#draw(note);
  }

  /** Erases the bar. */
  end(): void {
    this.#view?.end({ erase: true });
  }

  #draw(note: string): void {
    this.#view?.draw([progressLine(this.#done, this.#total, note, this.#terminal.columns)]);
  }
}
