import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { ensureBuilt, root } from "../examples/build.js";

/** What the package itself depends on. */
const DEPENDENCIES: readonly string[] = ["async-mutex", "eventemitter3", "tslib"];

/** The files that npm publishes, by their paths in the package. */
export async function packedFiles(): Promise<readonly string[]> {
  await ensureBuilt();
  const { stdout } = await promisify(execFile)("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
    cwd: root,
    maxBuffer: 64 * 1_024 * 1_024,
  });
  const [packed] = JSON.parse(stdout) as readonly { readonly files: readonly { readonly path: string }[] }[];
  return (packed?.files ?? []).map(({ path }) => path);
}

/** A new project in a temporary folder with this package installed as npm packs it, and those packages beside it. */
export class Installed implements Disposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), "installed-"));

  static async with(packages: readonly string[]): Promise<Installed> {
    const installed = new Installed();
    for (const path of await packedFiles()) {
      cpSync(join(root, path), join(installed.folder, "node_modules/telegram-session-pool", path));
    }
    for (const name of [...DEPENDENCIES, ...packages]) installed.#link(name);
    return installed;
  }

  write(name: string, text: string): string {
    const path = join(this.folder, name);
    writeFileSync(path, text);
    return path;
  }

  #link(name: string): void {
    const path = join(this.folder, "node_modules", name);
    mkdirSync(dirname(path), { recursive: true });
    symlinkSync(join(root, "node_modules", name), path, "dir");
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
