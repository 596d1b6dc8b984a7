import { spawn, spawnSync } from "node:child_process";
import { COMMAND, type Folder, RunningCommand } from "./command.js";

/** Whether there is `script` of util-linux, which runs a program in a pseudo-terminal. */
export const hasPseudoTerminal: boolean = spawnSync("script", ["--version"]).status === 0;

/** Options of {@link TerminalSession}. */
export interface TerminalOptions {
  readonly columns?: number;
  readonly rows?: number;
  readonly environment?: NodeJS.ProcessEnv;
  /** A file of the folder that gets what is written on stderr. */
  readonly stderr?: string;
}

/** The command in a pseudo-terminal, as a person has it before them. */
export class TerminalSession extends RunningCommand {
  constructor(
    folder: Folder,
    words: readonly string[],
    { columns = 80, rows = 24, environment, stderr }: TerminalOptions = {},
  ) {
    const quoted = [process.execPath, COMMAND, ...words].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
    const redirection = stderr === undefined ? "" : ` 2>'${folder.file(stderr)}'`;
    const line = `stty cols ${columns} rows ${rows}; exec ${quoted}${redirection}`;
    const child = spawn("script", ["-qec", line, "/dev/null"], {
      cwd: folder.path,
      env: { ...folder.environment, TERM: "xterm", ...environment },
      stdio: ["pipe", "pipe", "inherit"],
    });
    super(child);
  }

  /** Types a line and presses Enter. */
  enter(line: string): void {
    this.type(`${line}\r`);
  }

  /** Presses Ctrl-C. */
  interrupt(): void {
    this.type("\u0003");
  }
}
