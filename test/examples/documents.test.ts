import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import ts from "typescript";
import { beforeAll, describe, expect, test } from "vitest";
import * as everyError from "../../src/errors.js";
import { ensureBuilt, root } from "./build.js";
import { fieldsOf } from "./interface-fields.js";

const documents: readonly string[] = [
  ...readdirSync(root).filter((name) => name.endsWith(".md")),
  ...readdirSync(join(root, "docs"))
    .filter((name) => name.includes("."))
    .map((name) => `docs/${name}`),
];
const readme = textOf("README.md");
const reference = textOf("docs/reference.md");

function textOf(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

/** The TypeScript blocks of the documents, each as a module in the folder of this test. */
function snippets(): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const path of documents) {
    for (const match of textOf(path).matchAll(/^```(?:ts|js)\n(.*?)^```$/gms)) {
      const line = textOf(path).slice(0, match.index).split("\n").length;
      const name = `${path.replaceAll("/", "-")}-line-${line}.ts`;
      found.set(join(root, "test/examples", name), `${match[1]}\nexport {};\n`);
    }
  }
  return found;
}

function problemsOf(sources: ReadonlyMap<string, string>): readonly string[] {
  const { config } = ts.readConfigFile(join(root, "tsconfig.json"), ts.sys.readFile) as { config: object };
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  const relaxed = { ...options, noUnusedLocals: false, isolatedDeclarations: false, declaration: false };
  const host = ts.createCompilerHost(relaxed);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (path) => sources.has(path) || fileExists(path);
  host.readFile = (path) => sources.get(path) ?? readFile(path);
  host.getSourceFile = (path, version, ...rest) => {
    const source = sources.get(path);
    return source === undefined
      ? getSourceFile(path, version, ...rest)
      : ts.createSourceFile(path, source, version, true);
  };
  const prelude = join(root, "test/examples/snippets-prelude.d.ts");
  const program = ts.createProgram([prelude, ...sources.keys()], relaxed, host);
  return ts.getPreEmitDiagnostics(program).map(({ file, start = 0, messageText }) => {
    const at =
      file === undefined ? "" : `${file.fileName}, line ${file.getLineAndCharacterOfPosition(start).line + 1}: `;
    return at + ts.flattenDiagnosticMessageText(messageText, "\n");
  });
}

beforeAll(ensureBuilt, 120_000);

describe("documents", () => {
  test("every ts and js block compiles against the package", () => {
    const sources = snippets();
    expect(sources.size).toBeGreaterThan(15);
    expect(problemsOf(sources)).toEqual([]);
  });

  test("every link leads somewhere", () => {
    const broken = documents.flatMap((path) =>
      [...textOf(path).matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)/g)]
        .filter(([, target = "", anchor]) => !isThere(path, target, anchor))
        .map(([link]) => `${path}: ${link}`),
    );
    expect(broken).toEqual([]);
  });

  test("every test that docs/guarantees.md quotes exists, in the file that is named before it", () => {
    const quoted = quotedTests(textOf("docs/guarantees.md"));
    expect(quoted.length).toBeGreaterThan(5);
    expect(
      quoted.filter(
        ({ path, title }) => !textOf(path).includes(`"${title}"`) && !textOf(path).includes(` - ${title}"`),
      ),
    ).toEqual([]);
  });
});

/** The titles in quotation marks, each with the test file that is named last before it. */
function quotedTests(document: string): readonly { readonly path: string; readonly title: string }[] {
  const found: { path: string; title: string }[] = [];
  let path = "";
  for (const [, file, title] of document.matchAll(/`(test\/\S+\.test\.ts)`|"([^"`]{20,})"/g)) {
    if (file !== undefined) path = file;
    else if (title !== undefined) found.push({ path, title: title.replace(/\s+/g, " ") });
  }
  return found;
}

describe("reference", () => {
  test.each(["SessionPoolOptions", "AcquireOptions", "UseOptions", "MapOptions"])(
    "lists %s with their defaults",
    (name) => {
      const missing = fieldsOf("src/options/options.ts", name)
        .map(({ name: field, defaultValue }) => ({
          field,
          end: defaultValue === undefined ? "| |" : `| \`${defaultValue}\` |`,
        }))
        .filter(
          ({ field, end }) =>
            !linesOf(reference).some((line) => line.startsWith(`| \`${field}\` `) && line.endsWith(end)),
        );
      expect(missing).toEqual([]);
    },
  );

  test("lists every event", () => {
    const missing = fieldsOf("src/events.ts", "SessionPoolEvents").filter(
      ({ name }) => !linesOf(reference).some((line) => line.startsWith(`| \`${name}\` |`)),
    );
    expect(missing).toEqual([]);
  });

  test("lists every error class", () => {
    const classes = Object.keys(everyError).filter((name) => name.endsWith("Error") && name !== "SessionPoolError");
    expect(classes.length).toBeGreaterThan(10);
    expect(classes.filter((name) => !linesOf(reference).some((line) => line.startsWith(`| \`${name}\` |`)))).toEqual(
      [],
    );
  });
});

describe("README", () => {
  test("has the two commands", () => {
    expect(linesOf(readme)).toContain("npm ci && npm start");
    expect(linesOf(readme)).toContain("npm ci && npm test");
  });
});

/** The lines of a document; tables without their padding. */
function linesOf(document: string): readonly string[] {
  return document.split("\n").map((line) => line.replace(/ +/g, " ").trim());
}

function isThere(from: string, target: string, anchor: string | undefined): boolean {
  const path = target === "" ? from : join(dirname(from), target);
  if (!existsSync(join(root, path))) return false;
  if (anchor === undefined) return true;
  const headings = textOf(path).matchAll(/^#+ (.*)$/gm);
  return [...headings].some(([, text = ""]) => slugOf(text) === anchor);
}

/** The anchor GitHub gives a heading. */
function slugOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\w\- ]/g, "")
    .replaceAll(" ", "-");
}
