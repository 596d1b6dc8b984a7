import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { describe, expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** A longer sleep makes a test slow, and still too short on a busy machine. */
const LONGEST_SLEEP_MS = 100;
/** Words that say nothing to a reader who does not know the project. */
const PRIVATE_LANGUAGE = /\b(told|tells|nobody|somebody|whoever|anew|in vain|so (many|often|much|short|long) and)\b/i;

interface Title {
  /** File and line. */
  readonly at: string;
  /** The titles of the `describe` blocks around the test, and its own. */
  readonly parts: readonly string[];
}

const files: readonly ts.SourceFile[] = readdirSync(join(ROOT, "test"), { recursive: true, encoding: "utf8" })
  .map((path) => `test/${path.replaceAll("\\", "/")}`)
  .filter((path) => path.endsWith(".ts") && !path.includes("/node_modules/"))
  .map((path) => ts.createSourceFile(path, readFileSync(join(ROOT, path), "utf8"), ts.ScriptTarget.Latest, true));
const titles: readonly Title[] = files.flatMap((file) => titlesIn(file, file, []));

function titlesIn(file: ts.SourceFile, node: ts.Node, around: readonly string[]): readonly Title[] {
  const block = ts.isCallExpression(node) ? blockOf(node) : undefined;
  if (block?.name === "test") return [{ at: placeOf(file, node), parts: [...around, block.title] }];
  const parts = block === undefined ? around : [...around, block.title];
  const found: Title[] = [];
  ts.forEachChild(node, (child) => {
    found.push(...titlesIn(file, child, parts));
  });
  return found;
}

/** `test("…", …)`, `describe("…", …)`, and what `each`, `skipIf` and their like make of them. */
function blockOf({ expression, arguments: given }: ts.CallExpression): { name: string; title: string } | undefined {
  const [title] = given;
  const name = calleeOf(expression);
  if (title === undefined || given.length < 2 || (name !== "test" && name !== "describe")) return undefined;
  return { name, title: ts.isStringLiteralLike(title) ? title.text : title.getText() };
}

function calleeOf(node: ts.Expression): string {
  if (ts.isIdentifier(node)) return node.text === "it" ? "test" : node.text;
  return ts.isCallExpression(node) || ts.isPropertyAccessExpression(node) ? calleeOf(node.expression) : "";
}

function placeOf(file: ts.SourceFile, node: ts.Node): string {
  return `${file.fileName}:${file.getLineAndCharacterOfPosition(node.getStart(file)).line + 1}`;
}

function callsIn(file: ts.SourceFile): readonly ts.CallExpression[] {
  const found: ts.CallExpression[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node)) found.push(node);
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

/** The milliseconds of `setTimeout(resolve, ms)` and `sleep(ms)`. */
function sleepOf({ expression, arguments: [first, second] }: ts.CallExpression): number {
  const name = expression.getText();
  const isSleep = name === "sleep" || (name === "setTimeout" && first !== undefined && ts.isIdentifier(first));
  const length = name === "sleep" ? first : second;
  return isSleep && length !== undefined && ts.isNumericLiteral(length) ? Number(length.text) : 0;
}

describe("test files", () => {
  test("every title has the form `subject - condition`, or stands in a describe with the subject", () => {
    expect(titles.length).toBeGreaterThan(1_000);
    expect(titles.filter(({ parts }) => parts.length === 1 && !parts[0]?.includes(" - "))).toEqual([]);
  });

  test("titles are in standard terms", () => {
    expect(titles.filter(({ parts }) => PRIVATE_LANGUAGE.test(parts.join(" ")))).toEqual([]);
  });

  test("no title occurs twice in a file", () => {
    const seen = new Set<string>();
    const constant = titles.filter(({ parts }) => parts.at(-1) !== "%s");
    const twice = constant.filter(({ at, parts }) => {
      const name = [at.replace(/:\d+$/, ""), ...parts].join(" > ");
      const isKnown = seen.has(name);
      seen.add(name);
      return isKnown;
    });
    expect(twice).toEqual([]);
  });

  test("random choices are seeded", () => {
    const unseeded = files.flatMap((file) => callsIn(file).filter((call) => call.getText(file) === "Math.random()"));
    expect(unseeded.map((call) => placeOf(call.getSourceFile(), call))).toEqual([]);
  });

  test(`no test sleeps longer than ${LONGEST_SLEEP_MS} ms`, () => {
    const sleeping = files.flatMap((file) => callsIn(file).filter((call) => sleepOf(call) > LONGEST_SLEEP_MS));
    expect(sleeping.map((call) => placeOf(call.getSourceFile(), call))).toEqual([]);
  });
});
