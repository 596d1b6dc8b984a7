import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { nodeDriver } from "../../adapters/storage/sqlite/handle-driver.js";
import { keyvDriver } from "../../adapters/storage/sqlite/keyv-driver.js";
import { root } from "../examples/build.js";

/** The built command. */
export const COMMAND: string = join(root, "dist/cli.js");

/** What a command printed, and how it ended. */
export interface CommandRun {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const WAIT_MS = 15_000;

/** A command that runs. */
export class RunningCommand implements AsyncDisposable {
  readonly #child: ChildProcess;
  /** Everything that it wrote on stdout, or to its terminal. */
  output = "";
  /** Where in the text the next {@link until} begins to look. */
  #read = 0;
  #changed: () => void = () => {};
  /** Resolves its exit code. */
  readonly ended: Promise<number | null>;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.output += text;
      this.#changed();
    });
    this.ended = new Promise((resolve) => child.once("close", (code) => resolve(code)));
    void this.ended.then(() => this.#changed());
  }

  /** What was written without colors and movements of the cursor. */
  get text(): string {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the sequences begin with one.
    return this.output.replace(/\u001b\[[0-9;?]*[A-Za-z]/g, "").replaceAll("\r", "");
  }

  /** Waits until something matches that comes after the last match. */
  async until(pattern: RegExp): Promise<RegExpExecArray> {
    const limit = Date.now() + WAIT_MS;
    const timer = setTimeout(() => this.#changed(), WAIT_MS);
    let isOver = false;
    void this.ended.then(() => {
      isOver = true;
    });
    try {
      for (;;) {
        const found = pattern.exec(this.text.slice(this.#read));
        if (found !== null) {
          this.#read += found.index + found[0].length;
          return found;
        }
        if (isOver || Date.now() >= limit) throw new Error(`The command does not show ${pattern}:\n${this.text}`);
        await new Promise<void>((resolve) => {
          this.#changed = resolve;
        });
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Presses keys, or writes into its stdin. */
  type(keys: string): void {
    this.#child.stdin?.write(keys);
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin?.destroy();
    this.#child.kill("SIGKILL");
    await this.ended;
  }
}

/** A folder of its own for a test, in which commands run. */
export class Folder {
  readonly path: string = mkdtempSync(join(tmpdir(), "cli-"));
  /** Besides what is needed to run at all, nothing of this process's environment. */
  readonly environment: NodeJS.ProcessEnv = { PATH: process.env.PATH, HOME: process.env.HOME };

  constructor() {
    onTestFinished(() => rmSync(this.path, { recursive: true, force: true }));
  }

  file(name: string): string {
    return join(this.path, name);
  }

  /** Starts the command in a pipe, without a terminal. */
  start(words: readonly string[]): RunningCommand {
    const child = spawn(process.execPath, [COMMAND, ...words], {
      cwd: this.path,
      env: this.environment,
      stdio: ["pipe", "pipe", "inherit"],
    });
    return new RunningCommand(child);
  }

  /** Runs the command in a pipe to its end. */
  run(words: readonly string[], input = ""): Promise<CommandRun> {
    return new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [COMMAND, ...words], { cwd: this.path, env: this.environment });
      let stdout = "";
      let stderr = "";
      child.stdout.setEncoding("utf8").on("data", (text) => (stdout += text));
      child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
      child.stdin.on("error", () => {});
      child.stdin.end(input);
      child.once("error", reject).once("close", (code) => resolve({ code, stdout, stderr }));
    });
  }
}

/** Locks the folder's storage against writes, or against reads as well; what it resolves unlocks it. */
export async function lock(
  folder: Folder,
  mode: "IMMEDIATE" | "EXCLUSIVE" = "IMMEDIATE",
): Promise<() => Promise<void>> {
  const path = folder.file("sessions.db");
  const database = nodeDriver(path) ?? (await keyvDriver(path));
  await database.query(`BEGIN ${mode}`);
  return () => database.close();
}
