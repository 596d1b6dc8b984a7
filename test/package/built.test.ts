import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { ensureBuilt, root, runNode } from "../examples/build.js";

type Target = string | { readonly types: string; readonly default: string };

const MANIFEST = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  readonly bin: Readonly<Record<string, string>>;
  readonly exports: Readonly<Record<string, Target>>;
};
const ENTRY_POINTS = Object.entries(MANIFEST.exports).filter(
  (entry): entry is [string, Exclude<Target, string>] => typeof entry[1] !== "string",
);

beforeAll(() => ensureBuilt(), 120_000);

function nameOf(subpath: string): string {
  return `telegram-session-pool${subpath.slice(1)}`;
}

test.each(ENTRY_POINTS)("%s - is one built file with declarations", (_, target) => {
  expect(target.default).toMatch(/^\.\/dist\/[a-z-]+\.js$/);
  expect(existsSync(join(root, target.default))).toBe(true);
  expect(existsSync(join(root, target.types))).toBe(true);
});

test.each(Object.entries(MANIFEST.bin))("the command %s - is a program of Node.js", (_, path) => {
  expect(readFileSync(join(root, path), "utf8")).toMatch(/^#!\/usr\/bin\/env node\n/);
});

/** Prints the packages and the number of own files that a bare process has loaded after the import. */
const LOADED = `
  import { registerHooks } from "node:module";
  const loaded = [];
  registerHooks({ resolve(name, context, next) { const found = next(name, context); loaded.push(found.url); return found; } });
  await import(process.argv[1]);
  const packages = loaded.map((url) => /node_modules\\/((?:@[^/]+\\/)?[^/]+)/.exec(url)?.[1]).filter(Boolean);
  console.log(JSON.stringify({ packages: [...new Set(packages)].sort(), files: new Set(loaded.filter((url) => url.includes("/dist/") && !url.includes("node_modules"))).size }));`;

/** Node.js 20.19 has no hooks in the same thread. */
const hasHooks = "registerHooks" in (await import("node:module"));

test.runIf(hasHooks).each(ENTRY_POINTS)("import of %s - loads no optional package and few files", async (subpath) => {
  const { code, output } = await runNode(["--input-type=module", "-e", LOADED, nameOf(subpath)]);
  expect(code).toBe(0);
  const loaded = JSON.parse(output) as { readonly packages: readonly string[]; readonly files: number };
  expect(loaded.packages.filter((name) => !["async-mutex", "eventemitter3", "tslib"].includes(name))).toEqual([]);
  expect(loaded.files).toBeLessThan(25);
});

/** Every class that is exported, by the name under which it is. */
const CLASS_NAMES = `
  const exported = await import("telegram-session-pool");
  const classes = Object.entries(exported).filter(([, value]) => typeof value === "function" && /^class/.test(String(value)));
  console.log(JSON.stringify(classes.map(([name, { name: own }]) => [name, own])));`;

test("the bundle - leaves exported classes their names", async () => {
  const { output } = await runNode(["--input-type=module", "-e", CLASS_NAMES]);
  const classes = JSON.parse(output) as readonly (readonly [string, string])[];
  expect(classes.length).toBeGreaterThan(15);
  expect(classes.filter(([name, own]) => name !== own)).toEqual([]);
});

const SAME_CLASSES = `
  const { StorageError } = await import("telegram-session-pool");
  const { sqlite } = await import("telegram-session-pool/sqlite");
  const error = await sqlite("/missing/folder/sessions.db").open().catch((error) => error);
  console.log(error instanceof StorageError);`;

test("the bundle - has each error class once for all entry points", async () => {
  expect(await runNode(["--input-type=module", "-e", SAME_CLASSES])).toEqual({ code: 0, output: "true\n" });
});
