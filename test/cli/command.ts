import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { root } from "../examples/build.js";

/** The built command. */
export const COMMAND: string = join(root, "dist/cli.js");

/** What a command printed, and how it ended. */
export interface CommandRun {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
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

  /** Runs the command in a pipe, without a terminal. */
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
