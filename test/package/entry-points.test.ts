import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import * as adapter from "../../src/adapter.js";
import * as main from "../../src/index.js";
import { root } from "../examples/build.js";

interface Manifest {
  readonly exports: Readonly<Record<string, string | { readonly types: string; readonly default: string }>>;
  readonly typesVersions: { readonly "*": Readonly<Record<string, readonly string[]>> };
}

test("./adapter - exports what the author of a client adapter needs at run time", () => {
  expect(Object.keys(adapter).sort()).toEqual([
    "ConnectionLostError",
    "HeldBackError",
    "UnreadableAnswerError",
    "guard",
  ]);
});

test("the main entry point - exports nothing that only a client adapter needs", () => {
  expect(Object.keys(main).filter((name) => name in adapter)).toEqual([]);
});

test("package.json - typesVersions names the declarations of every subpath in exports", () => {
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest;
  const declarations = Object.entries(manifest.exports).flatMap(([subpath, target]) =>
    typeof target === "string" || subpath === "." ? [] : [[subpath.slice(2), [target.types]]],
  );
  expect(manifest.typesVersions["*"]).toEqual(Object.fromEntries(declarations));
});
