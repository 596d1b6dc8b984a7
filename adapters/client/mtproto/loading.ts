import { OptionsError } from "../../../src/errors.js";

/** A package to import, and what of it. */
export interface Package<Parts extends object> {
  /** As the user calls the adapter: `"gramjs"`. */
  readonly adapter: string;
  /** On npm. */
  readonly name: string;
  /** The versions that the adapter knows. */
  readonly range: string;
  readonly parts: { readonly [Part in keyof Parts]: () => Promise<Parts[Part]> };
}

/** What is missing of a package that is there. */
export function unknownVersion({ adapter, name, range }: Omit<Package<never>, "parts">, missing: string): OptionsError {
  return new OptionsError(
    `${adapter}() does not know this version of "${name}" (${missing} is not there): npm install ${name}@${range}`,
  );
}

/**
 * Imports a package with its inner modules, the package itself first. Throws `OptionsError` with the fix when it is not
 * installed, or is not as the adapter knows it.
 */
export async function importParts<Parts extends { readonly root: unknown }>(wanted: Package<Parts>): Promise<Parts> {
  const { adapter, name, range, parts } = wanted;
  await parts.root().catch((error: unknown) => {
    if (!isMissing(error)) throw error;
    throw new OptionsError(`${adapter}() needs the package "${name}": npm install ${name}@${range}`, { cause: error });
  });
  const modules = Object.entries<() => Promise<unknown>>(parts).map(async ([part, load]) => {
    const module = await load().catch((error: unknown) => {
      throw isMissing(error) ? unknownVersion(wanted, `its part "${part}"`) : error;
    });
    return [part, module] as const;
  });
  return Object.fromEntries(await Promise.all(modules)) as Parts;
}

/** A module that not every version has. */
export async function ifThere<Module>(load: () => Promise<Module>): Promise<Module | undefined> {
  return load().catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw error;
  });
}

/** Node tells it by a code; Vite, which resolves optional peers by itself, in words. */
function isMissing(error: unknown): boolean {
  const { code, message } = error as NodeJS.ErrnoException;
  const isVites = code === undefined && message.startsWith("Could not resolve ");
  return code === "ERR_MODULE_NOT_FOUND" || code === "ERR_PACKAGE_PATH_NOT_EXPORTED" || isVites;
}
