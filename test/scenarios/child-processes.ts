import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { watchChild } from "../canary/output-watch.js";
import { type Child, type Line, startScript } from "../processes/child.js";
import type { Stage } from "./support.js";

export type { Child, Line };

/** Runs a script of `processes/` on the stage's data centre and file. */
export function startChild(stage: Stage, script: "endings" | "workers" | "far-data-centre", mode: string): Child {
  const { dataCentre, file } = stage;
  const accounts = dataCentre.accounts.map(({ name, session }) => ({ name, session }));
  const path = fileURLToPath(new URL(`./processes/${script}.ts`, import.meta.url));
  const child = startScript(path, { host: dataCentre.host, port: dataCentre.port, file, accounts, mode });
  watchChild(script, child.process);
  onTestFinished(() => {
    child.process.kill("SIGKILL");
  });
  return child;
}
