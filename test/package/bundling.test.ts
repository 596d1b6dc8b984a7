import { build } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runNode } from "../examples/build.js";
import { Installed } from "./installed.js";

const ENTRY_POINTS = [
  "",
  "/adapter",
  "/import",
  "/gramjs",
  "/teleproto",
  "/memory",
  "/sqlite",
  "/keyv",
  "/redis",
  "/postgres",
  "/prometheus",
  "/dashboard",
  "/testing",
];

let installed: Installed;

beforeAll(async () => {
  installed = await Installed.with([]);
}, 120_000);
afterAll(() => installed?.[Symbol.dispose]());

async function bundle(name: string, source: string, minify: boolean): Promise<string> {
  const outfile = `${installed.folder}/${name}`;
  await build({
    stdin: { contents: source, resolveDir: installed.folder },
    bundle: true,
    platform: "node",
    format: "esm",
    minify,
    outfile,
    logLevel: "silent",
  });
  return outfile;
}

test.each(ENTRY_POINTS)('bundling "telegram-session-pool%s" - needs no optional package', async (entry) => {
  const source = `import * as all from "telegram-session-pool${entry}"; console.log(Object.keys(all).length > 0);`;
  for (const minify of [false, true]) {
    const path = await bundle(`entry${entry.replace("/", "-")}-${minify}.mjs`, source, minify);
    expect(await runNode([path])).toEqual({ code: 0, output: "true\n" });
  }
});

test.each([
  ["gramjs", "telegram"],
  ["teleproto", "teleproto"],
])("open() of a bundle with %s() - says which package is missing", async (adapter, name) => {
  const source = `
    import { SessionPool } from "telegram-session-pool";
    import { ${adapter} } from "telegram-session-pool/${adapter}";
    SessionPool.open({ client: ${adapter}({ apiId: 1, apiHash: "0123456789abcdef" }) }).catch((error) => console.log(error.message));`;
  const { output } = await runNode([await bundle(`${adapter}.mjs`, source, true)]);
  expect(output).toContain(`${adapter}() needs the package "${name}": npm install ${name}@`);
});

test("startTestServer() of a bundle - says which packages would do", async () => {
  const source = `
    import { startTestServer } from "telegram-session-pool/testing";
    startTestServer().catch((error) => console.log(error.message));`;
  const { output } = await runNode([await bundle("testing.mjs", source, true)]);
  expect(output).toContain("A test server needs a client library: telegram or teleproto");
});
