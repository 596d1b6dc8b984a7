import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { describe, expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** The layers of `src`, the lowest first. A file may import from its own layer and from those below it. */
const LAYERS: readonly (readonly string[])[] = [
  ["common/"],
  ["errors.ts", "session-info.ts"],
  ["telegram/", "options/", "events.ts", "error-factories.ts"],
  ["observability/", "pool-context.ts", "pool-lifecycle.ts"],
  ["state/", "rate-limits/", "connections/", "ownership/", "storage/", "encryption/"],
  ["jobs/", "acquire/", "lease/", "sessions/", "login/"],
  ["shutdown.ts", "create-pool.ts", "pool-observation.ts"],
  ["session-pool.ts"],
  ["index.ts", "adapter.ts", "import/", "cli/", "testing/", "dashboard/"],
];

/** The contracts that a user implements: options name them, so `options` and what is below may import their types. */
const CONTRACTS: ReadonlySet<string> = new Set([
  "src/storage/storage.ts",
  "src/encryption/sealer.ts",
  "src/connections/client-adapter.ts",
]);

interface Import {
  readonly from: string;
  readonly to: string;
  readonly isType: boolean;
}

const files: readonly string[] = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" })
  .map((path) => `src/${path.replaceAll("\\", "/")}`)
  .filter((path) => path.endsWith(".ts"));
const imports: readonly Import[] = files.flatMap(importsOf);

function importsOf(from: string): readonly Import[] {
  const source = ts.createSourceFile(from, readFileSync(join(ROOT, from), "utf8"), ts.ScriptTarget.Latest);
  return source.statements.flatMap((node) => {
    if (!ts.isImportDeclaration(node) && !ts.isExportDeclaration(node)) return [];
    const specifier = node.moduleSpecifier;
    if (specifier === undefined || !ts.isStringLiteral(specifier) || !specifier.text.startsWith(".")) return [];
    const to = join(dirname(from), specifier.text).replaceAll("\\", "/").replace(/\.js$/, ".ts");
    return [{ from, to, isType: isTypeOnly(node) }];
  });
}

function isTypeOnly(node: ts.ImportDeclaration | ts.ExportDeclaration): boolean {
  if (ts.isExportDeclaration(node)) return node.isTypeOnly;
  const clause = node.importClause;
  if (clause === undefined) return false;
  if (clause.isTypeOnly) return true;
  const { name, namedBindings } = clause;
  if (name !== undefined || namedBindings === undefined || !ts.isNamedImports(namedBindings)) return false;
  return namedBindings.elements.every(({ isTypeOnly: isType }) => isType);
}

function layerOf(path: string): number {
  return LAYERS.findIndex((names) => names.some((name) => path.startsWith(`src/${name}`)));
}

function text({ from, to }: Import): string {
  return `${from} → ${to}`;
}

/** The files of one cycle of imports, if there is one. */
function cycleIn(edges: readonly Import[]): readonly string[] {
  const targets = new Map<string, string[]>();
  for (const { from, to } of edges) targets.set(from, [...(targets.get(from) ?? []), to]);
  const finished = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): readonly string[] => {
    if (finished.has(file)) return [];
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    path.push(file);
    for (const target of targets.get(file) ?? []) {
      const cycle = visit(target);
      if (cycle.length > 0) return cycle;
    }
    path.pop();
    finished.add(file);
    return [];
  };
  for (const file of files) {
    const cycle = visit(file);
    if (cycle.length > 0) return cycle;
  }
  return [];
}

describe("imports of src", () => {
  test("every file is in a layer", () => {
    expect(files.filter((path) => layerOf(path) === -1)).toEqual([]);
  });

  test("every name of a layer is a file or a folder", () => {
    expect(LAYERS.flat().filter((name) => !existsSync(join(ROOT, "src", name)))).toEqual([]);
  });

  test("docs/architecture.md shows the same layers", () => {
    const page = readFileSync(join(ROOT, "docs/architecture.md"), "utf8");
    const [, block = ""] = /^## Dependencies\n.*?^```\n(.*?)^```$/ms.exec(page) ?? [];
    const shown = block.split("\n").filter((line) => line !== "");
    const names = shown.map((line) => line.replace(/^.*? {2,}/, "").split(", "));
    const layers = LAYERS.map((layer) => layer.map((name) => name.replace(/\/$|\.ts$/, "")));
    expect(names.map((layer) => [...layer].sort())).toEqual(layers.reverse().map((layer) => layer.sort()));
  });

  test("no file imports from a layer above its own, but for the types of the contracts", () => {
    const upward = imports.filter(({ from, to, isType }) => {
      if (!to.startsWith("src/") || (isType && CONTRACTS.has(to))) return false;
      return layerOf(to) > layerOf(from);
    });
    expect(upward.map(text)).toEqual([]);
  });

  test("common imports nothing but common", () => {
    const outside = imports.filter(({ from, to }) => from.startsWith("src/common/") && !to.startsWith("src/common/"));
    expect(outside.map(text)).toEqual([]);
  });

  test("modules import each other in no cycle", () => {
    expect(cycleIn(imports.filter(({ isType }) => !isType))).toEqual([]);
  });

  test("types form no cycle below the entry points, but for the contracts", () => {
    const entryPoints = LAYERS.length - 1;
    const below = imports.filter(({ from }) => layerOf(from) < entryPoints);
    expect(cycleIn(below.filter(({ isType, to }) => !isType || !CONTRACTS.has(to)))).toEqual([]);
  });

  test("no file imports an adapter, but for the command line", () => {
    const adapters = imports.filter(({ from, to }) => to.startsWith("adapters/") && !from.startsWith("src/cli/"));
    expect(adapters.map(text)).toEqual([]);
  });
});

test("sources - have no using declaration: the bundle is not lowered, and Node.js 20 has none", () => {
  const adapters = readdirSync(join(ROOT, "adapters"), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts"))
    .map((path) => `adapters/${path.replaceAll("\\", "/")}`);
  const declaring = [...files, ...adapters].filter((path) =>
    /^\s*(await )?using \w+ =/m.test(readFileSync(join(ROOT, path), "utf8")),
  );
  expect(declaring).toEqual([]);
});
