import { OptionsError } from "../errors.js";

/** A check of one value. */
export interface Validator {
  /** What the value must be, to complete "must be …". */
  readonly expected: string;
  accepts(value: unknown): boolean;
}

/** Validators by the name of the option. */
export type Rules = Readonly<Record<string, Validator>>;

/** Whether a value is an object, an array included. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

/** Whether a value is an object and not an array. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  return isObject(value) && !Array.isArray(value);
}

/** Whether a value is an object with these methods. */
export function hasMethods(value: unknown, names: readonly string[]): boolean {
  return isObject(value) && names.every((name) => typeof value[name] === "function");
}

export const nonEmptyString: Validator = {
  expected: "a non-empty string",
  accepts: (value) => typeof value === "string" && value !== "",
};
export const boolean: Validator = { expected: "true or false", accepts: (value) => typeof value === "boolean" };
export const milliseconds: Validator = {
  expected: "a number of milliseconds, 0 or more, or Infinity",
  accepts: (value) => typeof value === "number" && value >= 0,
};
export const positiveMs: Validator = {
  expected: "a number of milliseconds, more than 0, or Infinity",
  accepts: (value) => typeof value === "number" && value > 0,
};
export const finiteMilliseconds: Validator = {
  expected: "a finite number of milliseconds, more than 0",
  accepts: (value) => typeof value === "number" && Number.isFinite(value) && value > 0,
};
export const positiveIntegerOrInfinity: Validator = {
  expected: "a whole number, 1 or more, or Infinity",
  accepts: (value) =>
    typeof value === "number" && value >= 1 && (Number.isInteger(value) || value === Number.POSITIVE_INFINITY),
};
export const nonNegativeIntegerOrInfinity: Validator = {
  expected: "a whole number, 0 or more, or Infinity",
  accepts: (value) =>
    typeof value === "number" && value >= 0 && (Number.isInteger(value) || value === Number.POSITIVE_INFINITY),
};
export const positiveInteger: Validator = {
  expected: "a whole number, 1 or more",
  accepts: (value) => Number.isInteger(value) && Number(value) >= 1,
};
export const nonNegativeInteger: Validator = {
  expected: "a whole number, 0 or more",
  accepts: (value) => Number.isInteger(value) && Number(value) >= 0,
};
export const functionValue: Validator = { expected: "a function", accepts: (value) => typeof value === "function" };
/** Accepts the value or a function of the item that returns it. */
export const perItem = (rule: Validator): Validator => ({
  expected: `${rule.expected}, or a function of the item`,
  accepts: (value) => typeof value === "function" || rule.accepts(value),
});
export const tags: Validator = {
  expected: "an array of non-empty strings",
  accepts: (value) => Array.isArray(value) && value.every((tag) => nonEmptyString.accepts(tag)),
};
export const oneOf = (...values: readonly string[]): Validator => ({
  expected: values.map((value) => `"${value}"`).join(" or "),
  accepts: (value) => values.some((allowed) => allowed === value),
});
export const methods = (what: string, ...names: readonly string[]): Validator => ({
  expected: `${what} (an object with ${names.map((name) => `${name}()`).join(", ")})`,
  accepts: (value) => hasMethods(value, names),
});

/** The name of a method, by its form: only the client library knows which names exist. */
export const methodName: Validator = {
  expected: 'the name of a request, for instance "messages.SendMessage"',
  accepts: (value) => typeof value === "string" && /^(?:[A-Za-z]\w*\.)?[A-Za-z]\w*$/.test(value),
};

export const selection: Validator = {
  expected:
    '"spread", "warm", "random", { random: a finite seed or a function }, { weight: a function }, or a strategy (an object with rank() and leased())',
  accepts: (value) => {
    if (!isObject(value)) return value === "spread" || value === "warm" || value === "random";
    const { random, weight } = value;
    const isStrategy = hasMethods(value, ["rank", "leased"]);
    if (Number(isStrategy) + Number("random" in value) + Number("weight" in value) !== 1) return false;
    return isStrategy || typeof random === "function" || typeof weight === "function" || Number.isFinite(random);
  },
};

/**
 * Validates options. Throws `OptionsError` for an unknown key, an invalid value, or a missing required key. `hints` say, by
 * the name of an unknown key, what to do instead.
 */
export function check(
  call: string,
  options: unknown,
  rules: Rules,
  required: readonly string[] = [],
  hints: Readonly<Record<string, string>> = {},
): void {
  if (!isPlainObject(options)) {
    throw new OptionsError(`${call}: expected an object of options; got ${describeType(options)}.`);
  }
  for (const key of Object.keys(options)) {
    const rule = Object.hasOwn(rules, key) ? rules[key] : undefined;
    if (rule === undefined)
      throw unknownOption(call, key, Object.keys(rules), Object.hasOwn(hints, key) ? hints[key] : undefined);
    const value = options[key];
    if (value !== undefined && !rule.accepts(value)) {
      throw new OptionsError(`${call}: ${key} must be ${rule.expected}; got ${describeType(value)}.`);
    }
  }
  for (const key of required) {
    if (options[key] === undefined)
      throw new OptionsError(`${call}: ${key} is missing; it must be ${rules[key]?.expected}.`);
  }
}

/** The error for an unknown option, with a hint or the known one that was probably meant. */
export function unknownOption(call: string, key: string, known: readonly string[], hint?: string): OptionsError {
  const meant = nearestName(key, known);
  const advice = hint ?? (meant === undefined ? undefined : `Did you mean "${meant}"?`);
  const unknown = `${call}: unknown option "${key}".`;
  return new OptionsError([unknown, advice, `Known options: ${known.join(", ")}.`].filter(Boolean).join(" "));
}

/** Throws `OptionsError` unless `options` is an object whose keys are all known. For adapters. */
export function assertKnownOptions(call: string, options: unknown, known: readonly string[]): void {
  if (!isObject(options)) {
    throw new OptionsError(
      `${call}: expected an object of options { ${known.join(", ")} }; got ${describeType(options)}.`,
    );
  }
  const unknown = Object.keys(options).find((key) => !known.includes(key));
  if (unknown !== undefined) throw unknownOption(call, unknown, known);
}

/** The known name closest to a name; `undefined` if none differs by only a few letters. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  if (name.length > 100) return undefined;
  const wanted = name.toLowerCase();
  const longer = known.find((other) => wanted.length > 2 && other.toLowerCase().startsWith(wanted));
  if (longer !== undefined) return longer;
  const distances = known.map((other) => [editDistance(wanted, other.toLowerCase()), other] as const);
  const [distance, nearest] = distances.reduce(
    (best, next) => (next[0] < best[0] ? next : best),
    [Number.POSITIVE_INFINITY, ""],
  );
  return distance <= Math.max(1, Math.floor(wanted.length / 3)) ? nearest : undefined;
}

/** The number of letters to insert, delete, replace or swap with a neighbor that turns one text into the other. */
function editDistance(from: string, to: string): number {
  let before: readonly number[] = [];
  let last: readonly number[] = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let row = 1; row <= from.length; row++) {
    const current = [row];
    for (let column = 1; column <= to.length; column++) {
      const at = (line: readonly number[], index: number): number => line[index] ?? Number.POSITIVE_INFINITY;
      const isSame = from[row - 1] === to[column - 1];
      const isSwapped = from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1];
      current.push(
        Math.min(
          at(last, column) + 1,
          at(current, column - 1) + 1,
          at(last, column - 1) + (isSame ? 0 : 1),
          isSwapped ? at(before, column - 2) + 1 : Number.POSITIVE_INFINITY,
        ),
      );
    }
    before = last;
    last = current;
  }
  return last[to.length] ?? Number.POSITIVE_INFINITY;
}

/** Describes a value without repeating a text, which may be a secret. */
export function describeType(value: unknown): string {
  if (value === null) return "null";
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (typeof value === "string") return describeString(value);
  if (isArray(value)) return "an array";
  if (value === undefined) return "undefined";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

function describeString({ length }: string): string {
  if (length === 0) return "an empty string";
  return `a string of ${length} character${length === 1 ? "" : "s"}`;
}

/** `Array.isArray`, which throws for a revoked `Proxy`. */
function isArray(value: unknown): boolean {
  try {
    return Array.isArray(value);
  } catch {
    return false;
  }
}

/** Prefixes of the ids of the pool's own records. */
export const RESERVED_PREFIXES = { key: "~key:", pool: "~pool:", map: "~map:" } as const;

const PREFIXES: readonly string[] = Object.values(RESERVED_PREFIXES);

/** Whether an id belongs to the pool itself, so that no session may have it. */
export function isReserved(id: string): boolean {
  return PREFIXES.some((prefix) => id.startsWith(prefix));
}

/** The longest id of a session, in bytes of UTF-8: what the keys and indexes of every usual database hold. */
export const MAX_ID_BYTES = 512;

/** U+0000, which Postgres has no place for, and halves of surrogate pairs, which UTF-8 has none for. */
const UNSTORABLE = /\0|\p{Surrogate}/u;
const ALL_UNSTORABLE: RegExp = new RegExp(UNSTORABLE, "gu");

/** Whether every storage keeps the text as it is. */
export function isStorable(text: string): boolean {
  return !UNSTORABLE.test(text);
}

/** Whether every storage keeps the text as an id. */
export function isStorableId(id: string): boolean {
  return isStorable(id) && Buffer.byteLength(id) <= MAX_ID_BYTES;
}

/** The text with what no storage keeps replaced. */
export function toStorable(text: string): string {
  return text.replaceAll(ALL_UNSTORABLE, "\uFFFD");
}
