import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";

/** One line of a child process. */
export interface Line {
  readonly word: string;
  readonly at: number;
  readonly [detail: string]: unknown;
}

/** What a script says in lines of JSON, and how it is told something. */
export interface Talk {
  readonly lines: readonly Line[];
  /** Resolves with the first line of that word, or with the one of that number; rejects when it does not come. */
  said(word: string, number?: number, withinMs?: number): Promise<Line>;
  /** Writes a line to it: the word, or JSON when there are details. */
  tell(word: string, details?: object): void;
}

/** A process that a test has started, and what it said. */
export interface Child extends Talk {
  readonly process: ChildProcess;
  /** How it ended: its exit code or the signal's name. */
  readonly ended: Promise<number | string>;
  kill(signal: NodeJS.Signals): Promise<number | string>;
}

/** A worker thread that a test has started, and what it said. */
export interface Thread extends Talk {
  readonly worker: Worker;
}

interface Listener {
  readonly word: string;
  readonly number: number;
  heard(line: Line): void;
}

/** On a machine with much else to do. */
const SAYS_WITHIN_MS = 60_000;

/** Runs a script in a process of its own, with its orders as the only argument. Whoever starts it MUST end it. */
export function startScript(path: string, orders: object): Child {
  const args = ["--import", "tsx", "--no-warnings", path, JSON.stringify(orders)];
  const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "pipe"] });
  let complaints = "";
  child.stderr.on("data", (chunk: Buffer) => {
    process.stderr.write(chunk);
    complaints = `${complaints}${chunk}`.slice(-2_000);
  });
  const ended = Promise.all([once(child, "exit"), once(child.stdout, "close")]).then(
    ([[code, signal]]) => (code ?? signal) as number | string,
  );
  const outcome = ended.then((how) => (complaints === "" ? how : `${how}, after writing to stderr:\n${complaints}`));
  const kill = (signal: NodeJS.Signals): Promise<number | string> => {
    child.kill(signal);
    return ended;
  };
  return { process: child, ended, kill, ...talkWith(child.stdin, child.stdout, outcome) };
}

/** Runs a script in a thread of this process, otherwise likewise. */
export function startThread(path: string, orders: object): Thread {
  // A worker thread takes no `--import`: it learns to read TypeScript by itself.
  const load = `import("tsx/esm/api").then(({ register }) => { register(); return import(${JSON.stringify(pathToFileURL(path).href)}); })`;
  const argv = [JSON.stringify(orders)];
  const worker = new Worker(load, { eval: true, argv, execArgv: [], stdin: true, stdout: true });
  const ended = once(worker, "exit").then(
    ([code]) => code as number,
    (error: unknown) => `${error}`,
  );
  if (worker.stdin === null) throw new Error("A worker has an input when it is asked for.");
  return { worker, ...talkWith(worker.stdin, worker.stdout, ended) };
}

function talkWith(input: Writable, output: Readable, ended: Promise<number | string>): Talk {
  const lines: Line[] = [];
  const listeners = new Set<Listener>();
  const lineOf = (word: string, number: number) => lines.filter((line) => line.word === word)[number - 1];
  createInterface({ input: output }).on("line", (text) => {
    lines.push({ ...JSON.parse(text), at: Date.now() });
    for (const { word, number, heard } of listeners) {
      const line = lineOf(word, number);
      if (line !== undefined) heard(line);
    }
  });
  // Whoever writes to one that is gone learns of it by what it does not say.
  input.on("error", () => {});
  const said: Talk["said"] = (word, number = 1, withinMs = SAYS_WITHIN_MS) =>
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
  const tell: Talk["tell"] = (word, details) => {
    input.write(`${details === undefined ? word : JSON.stringify({ word, ...details })}\n`);
  };
  return { lines, said, tell };
}
