import { spawn } from "node:child_process";
import { mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { watchChild } from "../canary/output-watch.js";

/** The folder of the package. */
export const root: string = fileURLToPath(new URL("../..", import.meta.url));

const LOCK = join(root, "node_modules", ".examples-build");
const LONGEST_BUILD_MS = 120_000;

/** Node.js 22 warns of its SQLite, 26 of the localStorage that a dependency of the client libraries looks for. */
const NO_EXPERIMENTS = "--disable-warning=ExperimentalWarning";

/** What a program printed, and how it ended. */
export interface Run {
  readonly code: number | null;
  readonly output: string;
}

/** Runs Node.js in a child process, its output in a pipe. */
export function runNode(parameters: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<Run> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [NO_EXPERIMENTS, ...parameters], {
      cwd: root,
      env: { ...process.env, ...environment },
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text) => (output += text));
    watchChild("a program", child);
    child.once("error", reject).once("close", (code) => resolve({ code, output }));
  });
}

/** Builds `dist`, which the examples import, when it is missing or older than a source. */
export async function ensureBuilt(): Promise<void> {
  const deadline = Date.now() + LONGEST_BUILD_MS;
  while (!isBuilt()) {
    if (!lock()) {
      if (Date.now() > deadline) throw new Error(`Another build does not end. Delete ${LOCK} if there is none.`);
      await sleep(100);
      continue;
    }
    try {
      const { code, output } = await runNode(["build.mjs"]);
      if (code !== 0) throw new Error(`The build failed:\n${output}`);
    } finally {
      rmSync(LOCK, { recursive: true, force: true });
    }
  }
}

/** Whether `dist` is whole and newer than its sources. While another process builds, a part of its files is there. */
function isBuilt(): boolean {
  if (isLocked()) return false;
  const built = changedAt(join(root, "dist/index.js"));
  const settings = ["build.mjs", "embed-page.mjs", "tsconfig.json", "tsconfig.build.json"].map((name) =>
    changedAt(join(root, name)),
  );
  return built > Math.max(...["src", "adapters"].map((folder) => newestIn(join(root, folder))), ...settings);
}

/** Whether this process may build: making a folder is atomic. */
function lock(): boolean {
  if (changedAt(LOCK) > 0 && !isLocked()) rmSync(LOCK, { recursive: true, force: true });
  try {
    mkdirSync(LOCK);
    return true;
  } catch {
    return false;
  }
}

/** A lock that is older than any build was left by a process that was killed. */
function isLocked(): boolean {
  return Date.now() - changedAt(LOCK) <= LONGEST_BUILD_MS;
}

function newestIn(folder: string): number {
  const entries = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return Math.max(...entries.map((name) => changedAt(join(folder, name))));
}

function changedAt(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
