import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { Worker } from "node:worker_threads";
import { describe, expect, onTestFinished, test } from "vitest";
import { isRunning, ownIdentity, type ProcessIdentity } from "../../src/ownership/process-identity.js";

const isLinux = ownIdentity().host !== null;
const hasPython = spawnSync("python3", ["--version"]).status === 0;

/** Its main thread ends, another one goes on, as when a killed process still writes to its disk. */
const HEADLESS = `
import ctypes, sys, threading
threading.Thread(target=lambda: (sys.stdin.readline(), sys.stdin.close())).start()
print("begun", flush=True)
ctypes.CDLL(None).pthread_exit(None)
`;

function start(command: string, ...args: readonly string[]): ChildProcess {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "ignore"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  return child;
}

function fieldsOf(pid: number): readonly string[] {
  const line = readFileSync(`/proc/${pid}/stat`, "utf8");
  return line.slice(line.lastIndexOf(")") + 2).split(" ");
}

function identityOf({ pid = 0 }: ChildProcess): ProcessIdentity {
  return { ...ownIdentity(), pid, thread: pid, startedAt: fieldsOf(pid)[19] ?? "" };
}

describe.skipIf(!isLinux)("isRunning()", () => {
  test("is true for this thread, and for a process until it has ended", async () => {
    const child = start(process.execPath, "-e", "setInterval(() => {}, 1_000)");
    const identity = identityOf(child);
    expect([isRunning(ownIdentity()), isRunning(identity)]).toEqual([true, true]);
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(isRunning(identity)).toBe(false);
  });

  test("is true for a stopped process", async () => {
    const child = start(process.execPath, "-e", "setInterval(() => {}, 1_000)");
    child.kill("SIGSTOP");
    await expect.poll(() => fieldsOf(child.pid ?? 0)[0]).toBe("T");
    expect(isRunning(identityOf(child))).toBe(true);
  });

  test("is false for a worker thread that has ended, though its process runs", async () => {
    const worker = new Worker(
      'const { readlinkSync } = require("node:fs");require("node:worker_threads").parentPort.on("message", () => {}).postMessage(readlinkSync("/proc/thread-self"))',
      { eval: true },
    );
    onTestFinished(async () => {
      await worker.terminate();
    });
    const [path] = (await once(worker, "message")) as [string];
    const thread = Number(path.split("/task/")[1]);
    const line = readFileSync(`/proc/self/task/${thread}/stat`, "utf8");
    const startedAt = line.slice(line.lastIndexOf(")") + 2).split(" ")[19] ?? "";
    const identity = { ...ownIdentity(), thread, startedAt };
    expect(isRunning(identity)).toBe(true);
    await worker.terminate();
    await expect.poll(() => isRunning(identity)).toBe(false);
  });

  test.skipIf(!hasPython)(
    "is true for a process whose main thread is dead and whose other threads run: its sockets are open",
    async () => {
      const child = start("python3", "-c", HEADLESS);
      const identity = identityOf(child);
      if (child.stdout) await once(createInterface({ input: child.stdout }), "line");
      await expect.poll(() => fieldsOf(child.pid ?? 0)[0]).toBe("Z");
      expect(readdirSync(`/proc/${child.pid}/task`).length).toBeGreaterThan(1);
      expect(isRunning(identity)).toBe(true);
      child.stdin?.end("end\n");
      await once(child, "exit");
      expect(isRunning(identity)).toBe(false);
    },
  );
});
