import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { look } from "./canary.js";

const CONSOLE = ["debug", "dir", "error", "info", "log", "trace", "warn"] as const;
const decoder = new TextDecoder();

/**
 * Watches what this process prints: the console, both streams and the process's warnings. What a test's own spy
 * swallows does not come by here: the test looks at that itself.
 */
export function watchOutput(): void {
  for (const name of CONSOLE) {
    const original = console[name].bind(console) as (...values: unknown[]) => void;
    console[name] = (...values: unknown[]): void => {
      for (const value of values) look(`console.${name}()`, value);
      original(...values);
    };
  }
  for (const name of ["stdout", "stderr"] as const) {
    const stream = process[name];
    const write = stream.write.bind(stream) as (...values: unknown[]) => boolean;
    stream.write = (...values: unknown[]): boolean => {
      const [chunk] = values;
      look(`process.${name}`, chunk instanceof Uint8Array ? decoder.decode(chunk) : chunk);
      return write(...values);
    };
  }
  process.on("warning", (warning) => look("a process warning", warning));
}

/** Watches what a child process prints into its pipes. */
export function watchChild(where: string, { stdout, stderr }: ChildProcess): void {
  for (const [name, input] of Object.entries({ stdout, stderr })) {
    if (input !== null) createInterface({ input }).on("line", (line) => look(`the ${name} of ${where}`, line));
  }
}
