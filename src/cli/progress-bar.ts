import { LiveView, progressLine } from "./live-view.js";
import { cutText } from "./table.js";
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
    this.show(this.#done + 1, note);
  }

  /** So many are done. */
  show(done: number, note: string): void {
    this.#done = done;
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

/** A bar that appears with the first progress short of the end: what takes no time shows none. */
export class ProgressView {
  readonly #terminal: Terminal;
  readonly #note: string;
  #bar: ProgressBar | undefined;
  /** Shows the progress. May be passed on as a callback. */
  readonly show = ({ done, total }: { readonly done: number; readonly total: number }): void => {
    if (done < total) this.#bar ??= new ProgressBar(this.#terminal, total);
    this.#bar?.show(done, this.#note);
  };

  /** `note` says what is done. */
  constructor(terminal: Terminal, note: string) {
    this.#terminal = terminal;
    this.#note = note;
  }

  /** Erases the bar. */
  end(): void {
    this.#bar?.end();
  }
}

const REDRAW_MS = 100;

/** One line on stderr that changes while something of unknown length takes its time. Without a terminal there is none. */
export class ProgressText {
  readonly #terminal: Terminal;
  #view: LiveView | undefined;
  #shownAt = Number.NEGATIVE_INFINITY;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** Replaces the text, at most ten times a second. */
  show(text: string): void {
    const now = performance.now();
    if (!this.#terminal.isNoteLive || now - this.#shownAt < REDRAW_MS) return;
    this.#shownAt = now;
    this.#view ??= new LiveView(this.#terminal, this.#terminal.stderr);
    this.#view.draw([cutText(text, this.#terminal.columns - 1)]);
  }

  /** Erases the line. */
  end(): void {
    this.#view?.end({ erase: true });
  }
}
