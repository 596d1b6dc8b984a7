import { OptionsError } from "../../src/errors.js";

/** Throws `OptionsError` unless these are options, and all of them known to the adapter. */
export function assertKnownOptions(adapter: string, options: unknown, known: readonly string[]): void {
  if (typeof options !== "object" || options === null) {
    throw new OptionsError(
      `${adapter}() expects an object of options: { ${known.join(", ")} }; got a value of type ${typeof options}.`,
    );
  }
  const unknown = Object.keys(options).find((key) => !known.includes(key));
  if (unknown !== undefined) {
    throw new OptionsError(`${adapter}() knows no option "${unknown}". Known options: ${known.join(", ")}.`);
  }
}
