import { InvalidSessionError } from "../../errors.js";

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
