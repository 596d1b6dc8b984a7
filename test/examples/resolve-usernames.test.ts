import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { startTestServer, type TelegramTestServer } from "../../src/testing/index.js";
import { watchChild } from "../canary/output-watch.js";
import { ensureBuilt, root } from "./build.js";

const NAMES = 2_000;

/** One run of the example, until it ends or is killed when so many names were acknowledged. */
async function run(server: TelegramTestServer, folder: string, killAfter = Number.POSITIVE_INFINITY) {
  const { host, port } = server;
  const accounts = server.accounts.map(({ name, session }) => ({ name, session }));
  const child = spawn(process.execPath, ["--import", "tsx", "examples/03-resolve-usernames.ts", folder], {
    cwd: root,
    env: { ...process.env, TEST_SERVER: JSON.stringify({ host, port, accounts }), VERBOSE: "1" },
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  watchChild("the example", child);
  let output = "";
  let seen = 0;
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      seen += text.split("acknowledged ").length - 1;
      if (seen >= killAfter) child.kill("SIGKILL");
    });
  }
  const ended = await new Promise((resolve) => child.once("close", (code, signal) => resolve(code ?? signal)));
  const acknowledged = Array.from(output.matchAll(/^acknowledged (\w+)$/gm), ([, name = ""]) => name);
  return { ended, output, acknowledged };
}

/** How many names were resolved, counting each time. */
function resolutions(server: TelegramTestServer): number {
  return server.calls().filter(({ method, executed }) => method === "contacts.ResolveUsername" && executed).length;
}

beforeAll(ensureBuilt, 120_000);

test("03-resolve-usernames - killed half-way and started again: each name exactly once", async () => {
  const folder = mkdtempSync(join(tmpdir(), "resolve-usernames-"));
  const server = await startTestServer({ accounts: 20 });
  onTestFinished(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  });
  server.limit("contacts.ResolveUsername", { calls: 60, perMs: 1_000, waitSeconds: 1 });

  const first = await run(server, folder, NAMES / 2);
  expect(first.ended).toBe("SIGKILL");
  expect(first.acknowledged.length).toBeGreaterThanOrEqual(NAMES / 2);
  expect(first.acknowledged.length).toBeLessThan(NAMES);

  const second = await run(server, folder);
  expect(second.output).toContain(`${NAMES} of ${NAMES} names are in`);
  expect(second.output).toContain(", 0 failed.");
  expect(second.ended).toBe(0);

  const acknowledged = [...first.acknowledged, ...second.acknowledged];
  expect(new Set(acknowledged).size).toBe(acknowledged.length);
  const lines = readFileSync(join(folder, "usernames.jsonl"), "utf8").trim().split("\n");
  const kept = lines.map((line) => JSON.parse(line) as { readonly name: string; readonly id: string });
  expect(kept).toHaveLength(NAMES);
  expect(new Set(kept.map(({ name }) => name)).size).toBe(NAMES);
  expect(new Set(kept.map(({ id }) => id)).size).toBe(NAMES);
  // Only what was under way at the kill, at most one name an account, is asked for again.
  expect(resolutions(server)).toBeLessThanOrEqual(NAMES + 20);
  expect(server.violations()).toEqual([]);
  expect(server.maxConnectionsPerKey()).toBe(1);
});
