/**
 * Measures the sources: files and lines, functions that are too long, interfaces that only list the parts a class is
 * built on, and files that are too small to be one. `npx tsx bench/house.ts`; with `--files` it names them all.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
/** A file below this length is named with `--files`. */
const SMALL = 40;
const LONGEST_FUNCTION = 60;

const paths = ["src", "adapters"]
  .flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" }).map((path) => `${folder}/${path}`),
  )
  .filter((path) => path.endsWith(".ts") && !path.startsWith("src/testing/"))
  .sort();
const files = paths.map((path) => {
  const text = readFileSync(join(ROOT, path), "utf8");
  return {
    path,
    lines: text.split("\n").length - 1,
    source: ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true),
  };
});

/** The classes of the sources: a member of one of these types is a part. */
const classes = new Set<string>();
for (const { source } of files) {
  for (const node of source.statements) if (ts.isClassDeclaration(node) && node.name) classes.add(node.name.text);
}

function linesOf(node: ts.Node): number {
  const source = node.getSourceFile();
  const from = source.getLineAndCharacterOfPosition(node.getStart());
  const to = source.getLineAndCharacterOfPosition(node.getEnd());
  return to.line - from.line + 1;
}

/** Whether at least half of the members, and three, are parts or callbacks into other parts. */
function isBag(node: ts.InterfaceDeclaration): boolean {
  const parts = node.members.filter((member) => {
    if (!ts.isPropertySignature(member) || member.type === undefined) return false;
    const type = ts.isUnionTypeNode(member.type) ? member.type.types[0] : member.type;
    return type !== undefined && ts.isTypeReferenceNode(type) && classes.has(type.typeName.getText());
  });
  return (parts.length >= 3 && parts.length * 2 >= node.members.length) || /Deps$/.test(node.name.text);
}

interface Named {
  readonly name: string;
  readonly lines: number;
}

const bags: string[] = [];
const functions: Named[] = [];
for (const { path, source } of files) {
  const visit = (node: ts.Node): void => {
    if (ts.isInterfaceDeclaration(node) && isBag(node)) bags.push(`${path} ${node.name.text}`);
    if (ts.isFunctionLike(node) && "body" in node && node.body !== undefined) {
      const name = node.name?.getText() ?? (ts.isConstructorDeclaration(node) ? "constructor" : "(anonymous)");
      functions.push({ name: `${path} ${name}`, lines: linesOf(node) });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
}
functions.sort((a, b) => b.lines - a.lines);
const tooLong = functions.filter(({ lines }) => lines > LONGEST_FUNCTION);
const small = files.filter(({ lines }) => lines < SMALL);
console.table({
  files: files.length,
  lines: files.reduce((sum, { lines }) => sum + lines, 0),
  "interfaces that list parts": bags.length,
  "longest function": functions[0]?.lines,
  [`functions over ${LONGEST_FUNCTION} lines`]: tooLong.length,
  [`files under ${SMALL} lines`]: small.length,
});
if (process.argv.includes("--files")) {
  const byFolder = new Map<string, { files: number; lines: number }>();
  for (const { path, lines } of files) {
    const folder = path.split("/").slice(0, 2).join("/");
    const sum = byFolder.get(folder) ?? { files: 0, lines: 0 };
    byFolder.set(folder, { files: sum.files + 1, lines: sum.lines + lines });
  }
  console.table(Object.fromEntries(byFolder));
  console.log(["Interfaces that list parts:", ...bags].join("\n  "));
  console.log(
    ["Longest functions:", ...functions.slice(0, 12).map(({ name, lines }) => `${lines} ${name}`)].join("\n  "),
  );
  console.log(["Small files:", ...small.map(({ path, lines }) => `${lines} ${path}`)].join("\n  "));
}
