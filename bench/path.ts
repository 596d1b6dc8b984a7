/**
 * Length of the warm path: how many files and functions of the project one operation runs through once its session is
 * connected, by V8's precise coverage. With `--files` it lists the functions of each file, with the number of their calls.
 *
 *   npm run build && npx tsx bench/path.ts [--files]
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { type Profiler, Session } from "node:inspector/promises";
import { SourceMap } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Api } from "telegram";
import { SessionPool } from "telegram-session-pool";
import { gramjs } from "telegram-session-pool/gramjs";
import { sqlite } from "telegram-session-pool/sqlite";
import { forkTestServer } from "telegram-session-pool/testing";

const WARM_UP = 50;
const ROOT = new URL("../", import.meta.url).href;
const DIST = new URL("dist/", ROOT).href;

/** Calls of each function, by source file. */
type Path = ReadonlyMap<string, ReadonlyMap<string, number>>;

async function measure(inspector: Session, operation: () => Promise<unknown>): Promise<Path> {
  for (let i = 0; i < WARM_UP; i++) await operation();
  await inspector.post("Profiler.startPreciseCoverage", { callCount: true, detailed: false });
  await inspector.post("Profiler.takePreciseCoverage");
  await operation();
  const { result } = await inspector.post("Profiler.takePreciseCoverage");
  await inspector.post("Profiler.stopPreciseCoverage");
  const path = new Map<string, Map<string, number>>();
  for (const { url, functions } of result.filter(({ url }) => url.startsWith(DIST))) addCalls(path, url, functions);
  return new Map([...path].sort(([one], [other]) => one.localeCompare(other)));
}

function addCalls(
  path: Map<string, Map<string, number>>,
  url: string,
  functions: readonly Profiler.FunctionCoverage[],
): void {
  const built = new BuiltFile(url);
  for (const { functionName, ranges } of functions) {
    const { startOffset = 0, count = 0 } = ranges[0] ?? {};
    const place = built.sourceAt(startOffset);
    if (count === 0 || place === undefined) continue;
    const calls = path.get(place.file) ?? new Map<string, number>();
    path.set(place.file, calls);
    // Anonymous functions have only their place to tell them apart, and names may stand in a file more than once.
    const name = functionName === "" ? `anonymous in line ${place.line}` : functionName;
    calls.set(calls.has(name) ? `${name} in line ${place.line}` : name, count);
  }
}

/** A file of the bundle, with the way back to its sources. */
class BuiltFile {
  readonly #map: SourceMap;
  readonly #lineStarts: readonly number[];
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
    const path = fileURLToPath(url);
    this.#map = new SourceMap(JSON.parse(readFileSync(`${path}.map`, "utf8")));
    const text = readFileSync(path, "utf8");
    this.#lineStarts = [0, ...[...text.matchAll(/\n/g)].map(({ index }) => index + 1)];
  }

  /** `undefined` for what the bundler has added. */
  sourceAt(offset: number): { readonly file: string; readonly line: number } | undefined {
    const line = this.#lineStarts.findLastIndex((start) => start <= offset);
    const entry = this.#map.findEntry(line, offset - (this.#lineStarts[line] ?? 0));
    if (!("originalSource" in entry)) return undefined;
    const file = new URL(entry.originalSource, this.#url).href;
    return { file: file.slice(ROOT.length), line: entry.originalLine + 1 };
  }
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
