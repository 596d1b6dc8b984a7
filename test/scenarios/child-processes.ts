import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { watchChild } from "../canary/output-watch.js";
import { type Child, type Line, startScript, startThread, type Thread } from "../ownership/processes/child.js";
import type { Stage } from "./support.js";

export type { Child, Line };

type Script = "endings" | "workers" | "far-data-center" | "neighbour";

/** Runs a script of `processes/` on the stage's test server and file. */
export function startChild(stage: Stage, script: Script, mode: string): Child {
  const child = startScript(pathOf(script), ordersOf(stage, mode));
  watchChild(script, child.process);
  onTestFinished(() => {
    child.process.kill("SIGKILL");
  });
  return child;
}

/** The same in a thread of this process. */
export function startNeighbourThread(stage: Stage, mode: string): Thread {
  const thread = startThread(pathOf("neighbour"), ordersOf(stage, mode));
  onTestFinished(async () => {
    await thread.worker.terminate();
  });
  return thread;
}

function pathOf(script: Script): string {
  return fileURLToPath(new URL(`./processes/${script}.ts`, import.meta.url));
}

function ordersOf({ server, file }: Stage, mode: string): object {
  const accounts = server.accounts.map(({ name, session }) => ({ name, session }));
  return { host: server.host, port: server.port, file, accounts, mode };
}
