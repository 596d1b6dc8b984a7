import { InvalidSessionError } from "../../errors.js";

/** The two alphabets of base64 (RFC 4648, sections 4 and 5), and whether `=` fills up the end. */
export interface Base64Variant {
  readonly alphabet: "standard" | "url";
  readonly isPadded: boolean;
}

/** The bytes, whatever the alphabet and the padding. */
export function decodeLoosely(text: string): Buffer {
  return Buffer.from(text, "base64");
}

export function encode(bytes: Buffer, variant: Base64Variant): string {
  const standard = bytes.toString("base64");
  const text = variant.isPadded ? standard : standard.replace(/=+$/, "");
  return variant.alphabet === "standard" ? text : text.replaceAll("+", "-").replaceAll("/", "_");
}

/** Throws unless the text is exactly what its writer would have written. */
export function checkBase64(text: string, bytes: Buffer, variant: Base64Variant, writer: string): void {
  if (encode(bytes, variant) === text) return;
  throw new InvalidSessionError(differenceOf(text, variant, writer));
}

function differenceOf(text: string, { alphabet, isPadded }: Base64Variant, writer: string): string {
  const [wrong, right, isWrong] =
    alphabet === "standard" ? (["URL-safe", "standard", /[-_]/] as const) : (["standard", "URL-safe", /[+/]/] as const);
  const again = "Export it again from there, or convert it.";
  if (isWrong.test(text))
    return `The session string is in the ${wrong} base64 alphabet, and ${writer} writes the ${right} one. ${again}`;
  if (isPadded && text.length % 4 !== 0)
    return `The session string lost the padding at its end, which ${writer} writes. Copy it whole, the = at its end included.`;
  if (!isPadded && text.endsWith("="))
    return `The session string has padding at its end, which ${writer} does not write. Remove the = at its end.`;
  return `The last characters of the session string are damaged. ${again}`;
}

/** Throws unless a session string holds as many bytes as its format has. */
export function checkLength(actual: number, expected: number, format: string): void {
  if (actual < expected) throw cutOff(expected - actual, format);
  if (actual > expected) {
    throw new InvalidSessionError(
      `The session string is ${bytes(actual - expected)} longer than ${format} writes it. Copy it alone, with nothing before or after it.`,
    );
  }
}

export function cutOff(missing: number, format: string): InvalidSessionError {
  return new InvalidSessionError(
    `The session string is cut off: it lacks ${bytes(missing)} of what ${format} writes. Copy it whole.`,
  );
}

function bytes(count: number): string {
  return count === 1 ? "1 byte" : `${count} bytes`;
}
