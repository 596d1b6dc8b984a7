/**
 * Bundles the page of the dashboard and puts its text in the place of `src/dashboard/page-assets.ts`: for Rolldown, and for
 * Vite in the tests. The page is embedded, so that a program that is bundled itself finds it.
 */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { transform } from "esbuild";
import { rolldown } from "rolldown";

/** The style sheets, in the order of their rules. */
const STYLES = ["base", "figures", "charts", "table", "lists", "dialog", "narrow"];

const folder = new URL("src/dashboard/page/", import.meta.url);
const replaced = fileURLToPath(new URL("src/dashboard/page-assets.ts", import.meta.url));

async function bundleScript() {
  const bundle = await rolldown({
    input: fileURLToPath(new URL("main.ts", folder)),
    platform: "browser",
    tsconfig: fileURLToPath(new URL("tsconfig.json", folder)),
  });
  const { output } = await bundle.generate({ format: "iife", minify: true, comments: false });
  await bundle.close();
  return output[0].code;
}

async function readPage() {
  const [html, icon, script, ...styles] = await Promise.all([
    readFile(new URL("index.html", folder), "utf8"),
    readFile(new URL("icon.svg", folder), "utf8"),
    bundleScript(),
    ...STYLES.map((name) => readFile(new URL(`styles/${name}.css`, folder), "utf8")),
  ]);
  const { code } = await transform(styles.join("\n"), { loader: "css", minify: true });
  return { html, icon, css: code, script };
}

/** The plugin. */
export function embedPage() {
  let page;
  return {
    name: "embed-page",
    async load(id) {
      if (id.split("?")[0] !== replaced) return null;
      page ??= readPage();
      return { code: `export const PAGE = ${JSON.stringify(await page)};`, moduleType: "js" };
    },
  };
}
