import { createRequire } from "node:module";
import { join } from "node:path";
import currentTypeScript from "typescript";
import { afterAll, beforeAll, expect, test } from "vitest";
import { root } from "../examples/build.js";
import { Installed } from "./installed.js";

/** TypeScript 5.4: see test/packages/older-typescript. */
function oldestTypeScript(): typeof currentTypeScript {
  const require = createRequire(join(root, "test/packages/older-typescript/package.json"));
  return require("typescript") as typeof currentTypeScript;
}

const CONSUMER = `
import { type MapRun, type MapResult, memory, SessionPool } from "telegram-session-pool";
import { type ClientAdapter, type ClientHandle, ConnectionLostError, guard, HeldBackError } from "telegram-session-pool/adapter";
import { gramjs } from "telegram-session-pool/gramjs";
import { keyv } from "telegram-session-pool/keyv";
import { memory as sameMemory } from "telegram-session-pool/memory";
import { postgres } from "telegram-session-pool/postgres";
import { prometheus } from "telegram-session-pool/prometheus";
import { redis } from "telegram-session-pool/redis";
import { sqlite } from "telegram-session-pool/sqlite";
import { teleproto } from "telegram-session-pool/teleproto";
import { startTestServer } from "telegram-session-pool/testing";

export async function main(): Promise<void> {
  const client = gramjs({ apiId: 1, apiHash: "hash" });
  await using pool = await SessionPool.open({ client, storage: sqlite("sessions.db"), selection: "warm" });
  pool.on("cooled", ({ id, seconds }) => id.length + seconds);
  const me = await pool.use((telegram, lease) => telegram.getMe().then(() => lease.id));
  const run: MapRun<string, number> = pool.map([me], async (telegram, item) => item.length);
  for await (const result of run) {
    const length: number = result.ok ? result.value : 0;
    result.item.slice(length);
  }
  const all: AsyncIterable<MapResult<string, number>> = run;
  const iterator: AsyncIterator<MapResult<string, number>> = run[Symbol.asyncIterator]();
  for await (const dialog of pool.iterate((telegram) => telegram.iterDialogs({}))) dialog.id;
  {
    using lease = await pool.acquire({ wait: 5_000 });
    lease.coolDown(1);
  }
  const ownAdapter: ClientAdapter<object> | undefined = undefined;
  const ownHandle: ClientHandle<object> | undefined = undefined;
  void [ownAdapter, ownHandle, ConnectionLostError, guard, HeldBackError];
  void [all, iterator, keyv, memory, sameMemory, postgres, prometheus, redis, teleproto, startTestServer];
}
`;

let installed: Installed;

beforeAll(async () => {
  installed = await Installed.with(["telegram", "teleproto", "prom-client", "@types/node", "undici-types"]);
  installed.write("package.json", '{ "type": "module" }');
  installed.write("consumer.mts", CONSUMER);
}, 120_000);
afterAll(() => installed?.[Symbol.dispose]());

/** What the compiler says about those files. Declarations of other packages are theirs. */
function problems(ts: typeof currentTypeScript, types: readonly string[], files: RegExp): readonly string[] {
  const program = ts.createProgram([join(installed.folder, "consumer.mts")], {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    strict: true,
    exactOptionalPropertyTypes: true,
    esModuleInterop: true,
    skipLibCheck: false,
    noEmit: true,
    types: [...types],
    typeRoots: [join(installed.folder, "node_modules/@types")],
  });
  const own = program.getSourceFiles().filter(({ fileName }) => files.test(fileName));
  return [program.getGlobalDiagnostics(), ...own.map((file) => program.getSemanticDiagnostics(file))]
    .flat()
    .map(({ file, messageText }) => `${file?.fileName}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`);
}

const CONSUMER_FILE = /consumer\.mts$/;
const WITH_DECLARATIONS = /consumer\.mts$|telegram-session-pool\/dist/;

test("TypeScript 5.4 - accepts the declarations and a program", () => {
  const ts = oldestTypeScript();
  expect(ts.version).toMatch(/^5\.4\./);
  expect(problems(ts, ["node"], WITH_DECLARATIONS)).toEqual([]);
}, 120_000);

test("the current TypeScript - accepts the declarations and a program", () => {
  expect(problems(currentTypeScript, ["node"], WITH_DECLARATIONS)).toEqual([]);
}, 120_000);

test("a program without @types/node and without lib esnext.disposable - may use `await using`", () => {
  expect(problems(currentTypeScript, [], CONSUMER_FILE)).toEqual([]);
}, 120_000);
