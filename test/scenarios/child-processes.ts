import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { watchChild } from "../canary/output-watch.js";
import { type Stage, until } from "./support.js";

/** One line of a child process. */
export interface Line {
  readonly word: string;
  readonly at: number;
  readonly [detail: string]: unknown;
}

/** A process of a scenario, and what it said. */
export interface Child {
  readonly process: ChildProcess;
  readonly lines: readonly Line[];
  /** How it ended: its exit code or the signal's name. */
  readonly ended: Promise<number | string>;
  /** Resolves with the first line of that word. */
  said(word: string): Promise<Line>;
  /** Writes a line to it. */
  tell(word: string): void;
  kill(signal: NodeJS.Signals): Promise<number | string>;
}

/** Runs a script of `processes/` on the stage's data centre and file. */
export function startChild(stage: Stage, script: "endings" | "workers" | "far-data-centre", mode: string): Child {
  const { dataCentre, file } = stage;
  const accounts = dataCentre.accounts.map(({ name, session }) => ({ name, session }));
  const orders = JSON.stringify({ host: dataCentre.host, port: dataCentre.port, file, accounts, mode });
  const path = fileURLToPath(new URL(`./processes/${script}.ts`, import.meta.url));
  const child = spawn(process.execPath, ["--import", "tsx", path, orders], { stdio: ["pipe", "pipe", "pipe"] });
  const lines: Line[] = [];
  const reader = createInterface({ input: child.stdout });
  reader.on("line", (line) => lines.push({ ...JSON.parse(line), at: Date.now() }));
  watchChild(script, child);
  child.stderr.on("data", (chunk: Buffer) => process.stderr.write(chunk));
  const ended = Promise.all([once(child, "exit"), once(reader, "close")]).then(
    ([[code, signal]]) => (code ?? signal) as number | string,
  );
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  const said = async (word: string): Promise<Line> => {
    await until(`the process says ${word}`, () => lines.some((line) => line.word === word), 15_000);
    return lines.find((line) => line.word === word) as Line;
  };
  const kill = (signal: NodeJS.Signals): Promise<number | string> => {
    child.kill(signal);
    return ended;
  };
  const tell = (word: string): void => {
    child.stdin.write(`${word}\n`);
  };
  return { process: child, lines, ended, said, tell, kill };
}
