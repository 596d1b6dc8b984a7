/**
 * Processes that are killed with SIGKILL in the middle of work, one after the other, on one SQLite file: what is lost, and how
 * long it takes until the next one works.
 *
 *     npx tsx bench/crashes.ts [kills] [seed]
 *
 * GramJS works against the test server in a process of its own, with limits that make FLOOD_WAITs. The next
 * process is loaded before the killing and goes on in its moment.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ForkedTestServer } from "../src/testing/index.js";
import type { Child } from "../test/ownership/processes/child.js";
import { killMany } from "../test/scenarios/killings.js";

const kills = Number(process.argv[2] ?? 200);
const seed = Number(process.argv[3] ?? 1 + (Date.now() % 1_000_000));
const folder = mkdtempSync(join(tmpdir(), "crashes-"));
const children = new Set<Child>();
const servers: ForkedTestServer[] = [];

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((one, other) => one - other);
  return Math.round(sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)] ?? 0);
}

try {
  const found = await killMany({
    file: join(folder, "sessions.db"),
    kills,
    seed,
    onChild: (child) => {
      children.add(child);
      void child.ended.then(() => children.delete(child));
    },
    onServer: (server) => servers.push(server),
    onKill: (done) => done % 20 === 0 && console.log(`${done} killed`),
  });
  const { lost, broken, damages, failures, takeoversMs, ...counts } = found;
  console.log(`seed ${seed}`);
  console.table({
    ...counts,
    "acknowledged and lost": lost.length,
    "waits broken": broken.length,
    "damages of the file": damages.length,
    "failures of the storage": failures.length,
    "ms to the next one's first answer, median": quantile(takeoversMs, 0.5),
    "ms, of 95 %": quantile(takeoversMs, 0.95),
    "ms, most": quantile(takeoversMs, 1),
  });
  for (const wrong of [...lost, ...broken, ...damages, ...failures].slice(0, 20)) console.error(wrong);
  const isWrong = lost.length + broken.length + damages.length + counts.duplicates > 0;
  if (isWrong || counts.maxConnectionsPerKey > 1) process.exitCode = 1;
} finally {
  for (const child of children) child.process.kill("SIGKILL");
  for (const server of servers) await server.close();
  rmSync(folder, { recursive: true, force: true });
}
