import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { COMMAND, type Folder } from "./command.js";

/** Whether there is `script` of util-linux, which runs a program in a pseudo-terminal. */
export const hasPseudoTerminal: boolean = spawnSync("script", ["--version"]).status === 0;

const WAIT_MS = 15_000;

/** Options of {@link openTerminal}. */
export interface TerminalOptions {
  readonly columns?: number;
  readonly rows?: number;
  readonly environment?: NodeJS.ProcessEnv;
}

/** The command in a pseudo-terminal, as a person has it before them. */
export class TerminalSession implements AsyncDisposable {
  readonly #child: ChildProcess;
  /** Everything that was written to the terminal. */
  output = "";
  /** Where in the text the next {@link until} begins to look. */
  #read = 0;
  #changed: () => void = () => {};
  readonly ended: Promise<number | null>;

  constructor(
    folder: Folder,
    words: readonly string[],
    { columns = 80, rows = 24, environment }: TerminalOptions = {},
  ) {
    const quoted = [process.execPath, COMMAND, ...words].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
    this.#child = spawn("script", ["-qec", `stty cols ${columns} rows ${rows}; exec ${quoted}`, "/dev/null"], {
      cwd: folder.path,
      env: { ...folder.environment, TERM: "xterm", ...environment },
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.output += text;
      this.#changed();
    });
    this.ended = new Promise((resolve) => this.#child.once("close", (code) => resolve(code)));
    void this.ended.then(() => this.#changed());
  }

  /** What was written without colors and movements of the cursor. */
  get text(): string {
    return plain(this.output);
  }

  /** Waits until something matches that comes after the last match. */
  async until(pattern: RegExp): Promise<RegExpExecArray> {
    const deadline = AbortSignal.timeout(WAIT_MS);
    let isOver = false;
    void this.ended.then(() => (isOver = true));
    for (;;) {
      const found = pattern.exec(this.text.slice(this.#read));
      if (found !== null) {
        this.#read += found.index + found[0].length;
        return found;
      }
      if (deadline.aborted || isOver) throw new Error(`The terminal does not show ${pattern}:\n${this.text}`);
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
        deadline.addEventListener("abort", () => resolve(), { once: true });
      });
    }
  }

  /** Types a line and presses Enter. */
  enter(line: string): void {
    this.type(`${line}\r`);
  }

  /** Presses keys. */
  type(keys: string): void {
    this.#child.stdin?.write(keys);
  }

  interrupt(): void {
    this.type("\u0003");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin?.destroy();
    this.#child.kill("SIGHUP");
    await this.ended;
  }
}

/** A text without escape sequences. */
export function plain(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the sequences begin with one.
  return text.replace(/\u001b\[[0-9;?]*[A-Za-z]/g, "").replaceAll("\r", "");
}
