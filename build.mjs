/**
 * Builds `dist`: one file for each entry point, shared chunks, source maps that lead to the packed sources, and the
 * declarations in `dist/types`.
 *
 * Bundled, since a process that loads a few files starts several times as fast as one that loads each module by itself
 * (bench/cold-start.ts); by Rolldown, which leaves classes their names (esbuild renames those that mention themselves).
 * The declarations come from the compiler, one for each source: bundled ones have no maps, and "go to definition" would
 * end in a file that nobody wrote.
 */
import { spawn } from "node:child_process";
import { chmodSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";
import { embedPage } from "./embed-page.mjs";

/** Files of `dist`, by their names. Those that users import are in the `exports` of package.json as well. */
const ENTRY_POINTS = {
  index: "src/index.ts",
  adapter: "src/adapter.ts",
  cli: "src/cli/main.ts",
  import: "src/import/index.ts",
  login: "src/login/index.ts",
  gramjs: "adapters/client/gramjs.ts",
  teleproto: "adapters/client/teleproto.ts",
  memory: "adapters/storage/memory.ts",
  sqlite: "adapters/storage/sqlite.ts",
  keyv: "adapters/storage/keyv.ts",
  redis: "adapters/storage/redis.ts",
  postgres: "adapters/storage/postgres.ts",
  prometheus: "adapters/metrics/prometheus.ts",
  dashboard: "src/dashboard/index.ts",
  testing: "src/testing/index.ts",
  "test-server-process": "src/testing/test-server/test-server-process.ts",
};

const folder = fileURLToPath(new URL(".", import.meta.url));

async function buildFiles() {
  const bundle = await rolldown({
    cwd: folder,
    input: ENTRY_POINTS,
    platform: "node",
    plugins: [embedPage()],
    // What the package depends on, and what is optional, is the user's to install.
    external: (name) => !/^[./]/.test(name),
    // Every log is an error but for this one, which depends on how busy the machine is.
    checks: { bundlerTimings: false },
    onLog(level, log) {
      throw new Error(`${level}: ${log.message}`);
    },
  });
  await bundle.write({
    dir: "dist",
    format: "esm",
    sourcemap: true,
    comments: false,
    sourcemapExcludeSources: true,
    // Beside the entry points: the test server finds its program in the same folder, bundled or not.
    chunkFileNames: "[name]-[hash].js",
    // What nearly every entry point needs is one file: otherwise each set of entry points has a chunk of its own.
    codeSplitting: {
      groups: [
        { name: "base", test: /[\\/]src[\\/](?:common|options|telegram|errors|session-info|error-factories)\b/ },
      ],
    },
  });
  await bundle.close();
}

function buildDeclarations() {
  return new Promise((resolve, reject) => {
    const compiler = fileURLToPath(import.meta.resolve("typescript/bin/tsc"));
    const child = spawn(process.execPath, [compiler, "-p", "tsconfig.build.json"], { cwd: folder, stdio: "inherit" });
    child.once("error", reject);
    child.once("exit", (code) => (code === 0 ? resolve() : reject(new Error(`tsc ended with ${code}.`))));
  });
}

rmSync(new URL("dist", import.meta.url), { recursive: true, force: true });
await Promise.all([buildDeclarations(), buildFiles()]);
chmodSync(new URL("dist/cli.js", import.meta.url), 0o755);
