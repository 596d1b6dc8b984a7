import { OptionsError } from "../../../src/errors.js";

/** A package to import. */
export interface Package {
  /** As the user calls the adapter: `"gramjs"`. */
  readonly adapter: string;
  /** On npm. */
  readonly name: string;
  /** The versions that the adapter knows. */
  readonly range: string;
}

/** What is missing of a package that is there. */
export function unknownVersion({ adapter, name, range }: Package, missing: string): OptionsError {
  return new OptionsError(
    `${adapter}() does not know this version of "${name}" (${missing} is not there): npm install ${name}@${range}`,
  );
}

/** Why the package itself was not imported: an `OptionsError` with the command when it is not installed. */
export function packageFailure({ adapter, name, range }: Package, error: unknown): unknown {
  if (!isMissing(error)) return error;
  return new OptionsError(`${adapter}() needs the package "${name}": npm install ${name}@${range}`, { cause: error });
}

/** Why an inner module of an installed package was not imported: an `OptionsError` when the package has no such module. */
export function partFailure(wanted: Package, error: unknown): unknown {
  if (!isMissing(error)) return error;
  // Node.js: "Cannot find module '/…/telegram/tl/index.js' …", "Package subpath './tl/index.js' is not defined …".
  const [, part] = new RegExp(`["'](?:[^"']*\\b${wanted.name}|\\.)/([^"']+)["']`).exec((error as Error).message) ?? [];
  return unknownVersion(wanted, part === undefined ? "one of its parts" : `its part "${part}"`);
}

/** For a module that not every version has. Throws any other error than that it is missing. */
export function undefinedIfMissing(error: unknown): undefined {
  if (!isMissing(error)) throw error;
}

const MISSING_CODES: ReadonlySet<unknown> = new Set([
  "ERR_MODULE_NOT_FOUND",
  "ERR_PACKAGE_PATH_NOT_EXPORTED",
  // Of `require`: programs that a bundler has written.
  "MODULE_NOT_FOUND",
]);

/** Node.js tells it by a code; Vite, which resolves optional peers by itself, in words. */
function isMissing(error: unknown): boolean {
  const { code, message } = error as NodeJS.ErrnoException;
  return MISSING_CODES.has(code) || (code === undefined && message.startsWith("Could not resolve "));
}
