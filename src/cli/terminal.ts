import type { ReadStream, WriteStream } from "node:tty";
import { styleText } from "node:util";

/** A color or another style of a text. */
export type Style = Parameters<typeof styleText>[0];

/** The streams of a process, as far as a terminal needs them. */
export interface TerminalStreams {
  readonly stdin: NodeJS.ReadStream | ReadStream;
  readonly stdout: NodeJS.WriteStream | WriteStream;
  readonly stderr: NodeJS.WriteStream | WriteStream;
  readonly env: NodeJS.ProcessEnv;
}

const DEFAULT_COLUMNS = 80;
const DEFAULT_ROWS = 24;

/**
 * Where a command prints: what it was asked for on stdout, everything else (messages, questions, progress) on stderr.
 */
export class Terminal {
  readonly #streams: TerminalStreams;
  /** Does what Ctrl-C does, where the terminal gives it as a key. */
  readonly interrupt: () => void;

  constructor(streams: TerminalStreams, interrupt: () => void) {
    this.#streams = streams;
    this.interrupt = interrupt;
  }

  /** Whether a person can be asked. */
  get isInteractive(): boolean {
    return this.#streams.stdin.isTTY === true && this.#streams.stderr.isTTY === true;
  }

  /** Whether stdout can be drawn over. */
  get isLive(): boolean {
    return this.#streams.stdout.isTTY === true && this.#streams.env.TERM !== "dumb";
  }

  /** Whether stderr can be drawn over: for progress. */
  get isNoteLive(): boolean {
    return this.#streams.stderr.isTTY === true && this.#streams.env.TERM !== "dumb";
  }

  get columns(): number {
    const { stdout, stderr } = this.#streams;
    const { columns = stderr.columns } = stdout;
    return columns > 0 ? columns : DEFAULT_COLUMNS;
  }

  get rows(): number {
    const { rows } = this.#streams.stdout;
    return rows > 0 ? rows : DEFAULT_ROWS;
  }

  get stdin(): NodeJS.ReadStream | ReadStream {
    return this.#streams.stdin;
  }

  get stdout(): NodeJS.WriteStream | WriteStream {
    return this.#streams.stdout;
  }

  get stderr(): NodeJS.WriteStream | WriteStream {
    return this.#streams.stderr;
  }

  /** Prints lines on stdout. */
  print(text: string): void {
    this.#streams.stdout.write(`${text}\n`);
  }

  /** Prints a message on stderr. */
  note(text: string): void {
    this.#streams.stderr.write(`${text}\n`);
  }

  /** A text for stdout, styled where that is wanted. */
  paint(style: Style, text: string): string {
    return this.#paint(style, text, this.#streams.stdout);
  }

  /** A text for stderr, styled where that is wanted. */
  paintNote(style: Style, text: string): string {
    return this.#paint(style, text, this.#streams.stderr);
  }

  /** Lets the process end: a stdin that was read from keeps it alive. */
  close(): void {
    this.#streams.stdin.unref?.();
  }

  /** Source: no-color.org, a value that is not empty switches colors off. */
  #paint(style: Style, text: string, { isTTY }: { readonly isTTY?: boolean }): string {
    const { NO_COLOR = "", TERM } = this.#streams.env;
    if (isTTY !== true || NO_COLOR !== "" || TERM === "dumb") return text;
    return styleText(style, text, { validateStream: false });
  }
}
