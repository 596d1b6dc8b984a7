import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { sqlite } from "../../../adapters/storage/sqlite.js";

const folder = mkdtempSync(join(tmpdir(), "sqlite-processes-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const script = fileURLToPath(new URL("sqlite-writer.ts", import.meta.url));

function startWriter(path: string, rounds: number): ChildProcess {
  const args = ["--import", "tsx", "--no-warnings", script, path, `${rounds}`];
  return spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
}

/** Collects what the writer says. The last line is what it got acknowledged last. */
function linesOf(writer: ChildProcess): number[] {
  const lines: number[] = [];
  if (writer.stdout) createInterface(writer.stdout).on("line", (line) => lines.push(Number(line)));
  return lines;
}

async function counterAt(path: string): Promise<number> {
  const storage = sqlite(path);
  await storage.open?.();
  const record = await storage.read("counter");
  await storage.close?.();
  return Number(record?.data);
}

test("write() - three processes on one file lose no update", async () => {
  const path = join(folder, "three.db");
  const writers = [startWriter(path, 100), startWriter(path, 100), startWriter(path, 100)];
  const said = writers.map(linesOf);
  const codes = await Promise.all(writers.map((writer) => once(writer, "close")));
  expect(codes.map(([code]) => code)).toEqual([0, 0, 0]);
  expect(new Set(said.flat()).size).toBe(300);
  expect(await counterAt(path)).toBe(300);
});

test("write() - what was acknowledged survives a killed process", async () => {
  const path = join(folder, "killed.db");
  const writer = startWriter(path, 1_000_000);
  const lines = linesOf(writer);
  while (lines.length < 50) await new Promise((resolve) => setTimeout(resolve, 5));
  writer.kill("SIGKILL");
  await once(writer, "close");
  const last = lines.at(-1) ?? 0;
  expect(await counterAt(path)).toBeGreaterThanOrEqual(last);
});
