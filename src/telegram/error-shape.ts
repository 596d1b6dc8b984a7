/** What can be read of a thrown value without trusting it: any of its getters may throw. */
export interface ErrorShape {
  /** Its own `name`, or its constructor's. */
  readonly name: string;
  readonly message: string;
  /** The number Telegram answers with: 420, 401, -503. */
  readonly number: number | undefined;
  /** The `code` of an error of Node's: `"ECONNREFUSED"`. */
  readonly systemCode: string | undefined;
  readonly errorMessage: string | undefined;
  readonly seconds: unknown;
}

/** What is behind it is not looked at. */
const longestText = 512;

/** Reads the few fields that tell the libraries' errors apart; never throws. */
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

// The `socks` package names the class of its errors, not the errors.
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
  return typeof value === "string" ? value.slice(0, longestText) : undefined;
}
