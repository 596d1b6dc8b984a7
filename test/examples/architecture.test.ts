import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { describe, expect, test } from "vitest";
import { root } from "./build.js";

const page = readFileSync(join(root, "docs/architecture.md"), "utf8");
const sources: readonly string[] = ["src", "adapters"].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts"))
    .map((path) => `${folder}/${path.replaceAll("\\", "/")}`),
);

/** What the sources declare: `name`, and `Class.member`. */
function declaredNames(): ReadonlySet<string> {
  const names = new Set<string>();
  for (const path of sources) {
    const file = ts.createSourceFile(path, readFileSync(join(root, path), "utf8"), ts.ScriptTarget.Latest);
    for (const node of file.statements) {
      if (ts.isFunctionDeclaration(node) || ts.isTypeAliasDeclaration(node)) names.add(node.name?.text ?? "");
      if (!ts.isClassDeclaration(node) && !ts.isInterfaceDeclaration(node)) continue;
      const owner = node.name?.text ?? "";
      names.add(owner);
      for (const member of node.members) {
        if (member.name !== undefined && ts.isIdentifier(member.name)) names.add(`${owner}.${member.name.text}`);
      }
    }
  }
  return names;
}

/** Code of the page: its inline spans, and the words of its blocks. */
function code(): readonly string[] {
  const blocks = [...page.matchAll(/^```\n(.*?)^```$/gms)].map(([, text = ""]) => text);
  const inline = page.replace(/^```\n.*?^```$/gms, "").matchAll(/`([^`]+)`/g);
  return [...[...inline].map(([, text = ""]) => text), ...blocks.flatMap((text) => text.split(/[\s,()`]+/))];
}

describe("docs/architecture.md", () => {
  test("names only files and folders that exist", () => {
    const paths = code().filter((text) => /^(src|adapters|test|examples|bench|docs)\/\S*$/.test(text));
    expect(paths.length).toBeGreaterThan(30);
    expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });

  test("names every folder of src", () => {
    const folders = readdirSync(join(root, "src"), { withFileTypes: true }).filter((entry) => entry.isDirectory());
    expect(folders.map(({ name }) => `\`src/${name}/\``).filter((name) => !page.includes(name))).toEqual([]);
  });

  test("names only classes, types, methods and functions that exist", () => {
    const declared = declaredNames();
    const names = code()
      .filter((text) => /^[A-Z]\w*[a-z]\w*(\.\w+)?$|^[a-z]\w+\(\)$/.test(text))
      .map((text) => text.replace("()", ""));
    expect(names.length).toBeGreaterThan(20);
    expect(names.filter((name) => !declared.has(name))).toEqual([]);
  });
});
