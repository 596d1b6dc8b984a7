/**
 * Length of the warm path: how many files and functions of the project one operation runs through once its session is
 * connected, by V8's precise coverage. With `--files` it lists the functions of each file, with the number of their calls.
 *
 *   npm run build && npx tsx bench/path.ts [--files]
 */
import { mkdtempSync, rmSync } from "node:fs";
import { type Profiler, Session } from "node:inspector/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Api } from "telegram";
import { SessionPool } from "telegram-session-pool";
import { gramjs } from "telegram-session-pool/gramjs";
import { sqlite } from "telegram-session-pool/sqlite";
import { forkTestServer } from "telegram-session-pool/testing";

const WARM_UP = 50;
const DIST = new URL("../dist/", import.meta.url).href;

/** Calls of each function, by file. */
type Path = ReadonlyMap<string, ReadonlyMap<string, number>>;

async function measure(inspector: Session, operation: () => Promise<unknown>): Promise<Path> {
  for (let i = 0; i < WARM_UP; i++) await operation();
  await inspector.post("Profiler.startPreciseCoverage", { callCount: true, detailed: false });
  await inspector.post("Profiler.takePreciseCoverage");
  await operation();
  const { result } = await inspector.post("Profiler.takePreciseCoverage");
  await inspector.post("Profiler.stopPreciseCoverage");
  const own = result.filter(({ url }) => url.startsWith(DIST));
  const called = own.map(({ url, functions }) => [url.slice(DIST.length), callsOf(functions)] as const);
  return new Map(called.filter(([, calls]) => calls.size > 0).sort(([one], [other]) => one.localeCompare(other)));
}

function callsOf(functions: readonly Profiler.FunctionCoverage[]): ReadonlyMap<string, number> {
  const called = functions.map(({ functionName, ranges: [range] }) => {
    // Anonymous functions have only their place to tell them apart.
    const name = functionName === "" ? `anonymous at ${range?.startOffset}` : functionName;
    return [name, range?.startOffset, range?.count ?? 0] as const;
  });
  const counts = new Map<string, number>();
  for (const [name, offset, count] of called) {
    if (count > 0) counts.set(counts.has(name) ? `${name} at ${offset}` : name, count);
  }
  return counts;
}

function print(paths: Readonly<Record<string, Path>>): void {
  const rows = Object.entries(paths).map(([name, path]) => {
    const calls = [...path.values()].flatMap((functions) => [...functions.values()]);
    return [name, { files: path.size, functions: calls.length, calls: calls.reduce((sum, n) => sum + n, 0) }];
  });
  console.table(Object.fromEntries(rows));
  if (!process.argv.includes("--files")) return;
  for (const [name, path] of Object.entries(paths)) {
    console.log(`\n${name}`);
    for (const [file, functions] of path) {
      console.log(`  ${file}: ${[...functions].map(([called, count]) => `${called} ${count}`).join(", ")}`);
    }
  }
}

async function main(folder: string): Promise<void> {
  await using server = await forkTestServer({ accounts: 2, record: false });
  await using pool = await SessionPool.open({
    client: gramjs({ apiId: 1, apiHash: "bench", clientOptions: server.clientOptions }),
    storage: sqlite(join(folder, "sessions.db")),
    trustServers: true,
  });
  for (const { name, session } of server.accounts) await pool.add(name, session);
  const self = (): Api.users.GetUsers => new Api.users.GetUsers({ id: [new Api.InputUserSelf()] });
  const inspector = new Session();
  inspector.connect();
  await inspector.post("Profiler.enable");
  print({
    "acquire() + release()": await measure(inspector, async () => (await pool.acquire()).release()),
    "use() without a call": await measure(inspector, () => pool.use(() => 1)),
    "use() of one call": await measure(inspector, () => pool.use((client) => client.invoke(self()))),
  });
  inspector.disconnect();
}

const folder = mkdtempSync(join(tmpdir(), "path-"));
try {
  await main(folder);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
