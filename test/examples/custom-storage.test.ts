import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { SessionStorage } from "../../src/storage/storage.js";
import { testSessionStorage } from "../../src/testing/storage-contract.js";
import { ensureBuilt, root } from "./build.js";

type Example = { readonly jsonFile: (path: string) => SessionStorage };

const folder = mkdtempSync(join(tmpdir(), "json-file-"));
const paths = new WeakMap<SessionStorage, string>();
let example: Example;
let files = 0;

function storageAt(path: string): SessionStorage {
  const storage = example.jsonFile(path);
  paths.set(storage, path);
  return storage;
}

beforeAll(async () => {
  await ensureBuilt();
  const path = join(root, "examples/02-custom-storage.ts"); // not a literal: its types need the build
  example = (await import(path)) as Example;
}, 120_000);

afterAll(() => rmSync(folder, { recursive: true }));

testSessionStorage({
  test,
  expect,
  name: "examples/02-custom-storage",
  rows: 50,
  open: () => storageAt(join(folder, `${++files}.json`)),
  reopen: (storage) => storageAt(paths.get(storage) ?? ""),
  corrupt: (storage) => writeFileSync(paths.get(storage) ?? "", "[["),
});
