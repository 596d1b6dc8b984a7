/** The fields of a thrown value, read without trusting it: any getter may throw. */
export interface ErrorShape {
  /** Its `name`, or that of its constructor. */
  readonly name: string;
  readonly message: string;
  /** The number of an answer of Telegram: 420, 401, -503. */
  readonly number: number | undefined;
  /** The `code` of a Node.js error: `"ECONNREFUSED"`. */
  readonly systemCode: string | undefined;
  readonly errorMessage: string | undefined;
  readonly seconds: unknown;
}

/** Longer messages are cut off. */
const MAX_TEXT_LENGTH = 512;

/** Reads the fields that identify the errors of the libraries. Never throws. */
export function shapeOf(error: object): ErrorShape {
  const code = read(error, "code");
  const number = typeof code === "number" ? code : read(error, "errorCode");
  return {
    name: nameOf(error),
    message: textOf(read(error, "message")) ?? "",
    number: typeof number === "number" && Number.isInteger(number) ? number : undefined,
    systemCode: textOf(code),
    errorMessage: textOf(read(error, "errorMessage")),
    seconds: read(error, "seconds"),
  };
}

// Errors of the `socks` package have no `name` of their own, only their class has.
function nameOf(error: object): string {
  const name = textOf(read(error, "name"));
  if (name !== undefined && name !== "" && name !== "Error") return name;
  const type = read(error, "constructor");
  const typeName = typeof type === "function" ? textOf(read(type, "name")) : undefined;
  return typeName ?? name ?? "";
}

function read(from: object, key: string): unknown {
  try {
    return Reflect.get(from, key);
  } catch {
    return undefined;
  }
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value.slice(0, MAX_TEXT_LENGTH) : undefined;
}
