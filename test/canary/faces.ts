import { inspect } from "node:util";
import { holdsSession, SHORTEST_FIND } from "./session-finder.js";

const deep = { depth: 10, showHidden: true, maxArrayLength: null, maxStringLength: null } as const;
const DEEPEST = 4;
const LONGEST_CAUSE_CHAIN = 10;

/** The face of a value that shows a session string ("inspect", "JSON", …); `undefined` when none does. */
export function leakingFace(value: unknown): string | undefined {
  if (typeof value === "string") return holdsSession(value) ? "text" : undefined;
  if (isPlain(value, 0)) return undefined;
  const faces: Readonly<Record<string, () => unknown>> = {
    ...(value instanceof Error ? { message: () => value.message, stack: () => value.stack } : {}),
    inspect: () => inspect(value),
    "deep inspect": () => inspect(value, deep),
    JSON: () => JSON.stringify(value),
    String: () => String(value),
  };
  for (const [face, show] of Object.entries(faces)) if (holdsSession(textOf(show))) return face;
  return leakingCause(value);
}

/** The same at the price of a look at the message: for the many errors of one storm. */
export function leakingMessage(value: unknown): string | undefined {
  for (let error = value, depth = 0; error instanceof Error && depth < LONGEST_CAUSE_CHAIN; depth++) {
    const { message, cause } = error;
    if (holdsSession(message)) return "message";
    for (const field of Object.values(error)) {
      if (typeof field === "string" && holdsSession(field)) return "a field";
    }
    error = cause;
  }
  return undefined;
}

function leakingCause(value: unknown): string | undefined {
  for (let error = value, depth = 0; error instanceof Error && depth < LONGEST_CAUSE_CHAIN; depth++) {
    const { cause } = error;
    if (holdsSession(textOf(() => (cause instanceof Error ? `${cause.message}\n${cause.stack}` : cause)))) {
      return "cause";
    }
    error = cause;
  }
  return undefined;
}

function textOf(show: () => unknown): string {
  try {
    return String(show());
  } catch {
    return ""; // What cannot be printed gives nothing away.
  }
}

/** Whether a value is plain data of short texts: none of its faces can hold a session then. */
function isPlain(value: unknown, depth: number): boolean {
  if (typeof value === "string") return value.length < SHORTEST_FIND || !holdsSession(value);
  if (typeof value !== "object" || value === null) return typeof value !== "function";
  if (depth > DEEPEST) return false;
  if (Array.isArray(value)) {
    // An array of numbers can be the bytes of a key.
    return value.every((item) => isPlain(item, depth + 1)) && !(value.length > 7 && typeof value[0] === "number");
  }
  if (Object.getPrototypeOf(value) !== Object.prototype) return false;
  for (const key of Reflect.ownKeys(value)) {
    if (typeof key !== "string" || key.length >= SHORTEST_FIND) return false;
    if (!isPlain(Reflect.get(value, key), depth + 1)) return false;
  }
  return true;
}
