import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** One line of a child process. */
export interface Line {
  readonly word: string;
  readonly at: number;
  readonly [detail: string]: unknown;
}

/** A process that a test has started, and what it said. */
export interface Child {
  readonly process: ChildProcess;
  readonly lines: readonly Line[];
  /** How it ended: its exit code or the signal's name. */
  readonly ended: Promise<number | string>;
  /** Resolves with the first line of that word, or with the one of that number; rejects when it does not come. */
  said(word: string, number?: number, withinMs?: number): Promise<Line>;
  /** Writes a line to it: the word, or JSON when there are details. */
  tell(word: string, details?: object): void;
  kill(signal: NodeJS.Signals): Promise<number | string>;
}

interface Listener {
  readonly word: string;
  readonly number: number;
  heard(line: Line): void;
}

const SAYS_WITHIN_MS = 15_000;

/** Runs a script in a process of its own, with its orders as the only argument. Whoever starts it MUST end it. */
export function startScript(path: string, orders: object): Child {
  const args = ["--import", "tsx", "--no-warnings", path, JSON.stringify(orders)];
  const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "pipe"] });
  const lines: Line[] = [];
  const listeners = new Set<Listener>();
  const lineOf = (word: string, number: number) => lines.filter((line) => line.word === word)[number - 1];
  const reader = createInterface({ input: child.stdout });
  reader.on("line", (text) => {
    lines.push({ ...JSON.parse(text), at: Date.now() });
    for (const { word, number, heard } of listeners) {
      const line = lineOf(word, number);
      if (line !== undefined) heard(line);
    }
  });
  child.stderr.on("data", (chunk: Buffer) => process.stderr.write(chunk));
  // Whoever writes to a process that is gone learns of it by what it does not say.
  child.stdin.on("error", () => {});
  const ended = Promise.all([once(child, "exit"), once(reader, "close")]).then(
    ([[code, signal]]) => (code ?? signal) as number | string,
  );
  const said = (word: string, number = 1, withinMs = SAYS_WITHIN_MS): Promise<Line> =>
    new Promise((resolve, reject) => {
      const line = lineOf(word, number);
      if (line !== undefined) return resolve(line);
      const settle = (finish: () => void): void => {
        clearTimeout(timer);
        listeners.delete(listener);
        finish();
      };
      const listener: Listener = { word, number, heard: (heard) => settle(() => resolve(heard)) };
      const fail = (why: string): void => settle(() => reject(new Error(`Did not say "${word}" (${number}): ${why}`)));
      const timer = setTimeout(() => fail(`not within ${withinMs} ms`), withinMs);
      listeners.add(listener);
      void ended.then((how) => fail(`it ended with ${how}`));
    });
  const kill = (signal: NodeJS.Signals): Promise<number | string> => {
    child.kill(signal);
    return ended;
  };
  const tell = (word: string, details?: object): void => {
    child.stdin.write(`${details === undefined ? word : JSON.stringify({ word, ...details })}\n`);
  };
  return { process: child, lines, ended, said, tell, kill };
}
