import { readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { root } from "../examples/build.js";
import { packedFiles } from "./installed.js";

let files: ReadonlySet<string> = new Set();

beforeAll(async () => {
  files = new Set(await packedFiles());
}, 120_000);

function textOf(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

test("npm pack - source maps and declaration maps lead to sources in the package", () => {
  const built = [...files].filter((path) => /^dist\/.*(\.js|\.d\.ts)$/.test(path));
  expect(built.length).toBeGreaterThan(200);
  // A file that only passes exports of other files on has no lines to be found in a source.
  const isFacade = (path: string): boolean =>
    /^((import|export) (\{[^}]*\} from )?"[^"]+";\n|export \{[^}]*\};\n?)+$/.test(textOf(path));
  expect(built.filter((path) => !files.has(`${path}.map`) && !isFacade(path))).toEqual([]);
  const lost = [...files]
    .filter((path) => path.endsWith(".map"))
    .flatMap((path) => {
      const { sources } = JSON.parse(textOf(path)) as { readonly sources: readonly string[] };
      return sources.map((source) => posix.join(posix.dirname(path), source));
    });
  expect(lost.filter((source) => !files.has(source))).toEqual([]);
});

test("npm pack - every link of a packed document leads into the package", () => {
  const folders = new Set([...files].map((path) => posix.dirname(path)));
  const dead = [...files]
    .filter((path) => path.endsWith(".md"))
    .flatMap((path) =>
      [...textOf(path).matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)]
        .map(([, target = ""]) => posix.join(posix.dirname(path), target))
        .filter((target) => !files.has(target) && !folders.has(target))
        .map((target) => `${path}: ${target}`),
    );
  expect(dead).toEqual([]);
});

test("npm pack - no tests and no lock file are in the package", () => {
  expect([...files].filter((path) => /^(test|bench|coverage|package-lock)/.test(path))).toEqual([]);
});
