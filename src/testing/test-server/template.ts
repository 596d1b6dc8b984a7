import type { TlObject } from "./library.js";
import { writeBytes } from "./messages.js";

/** What differs between the answers of a template. */
export interface Blanks {
  readonly id: number;
  readonly pts: number;
  readonly date: number;
  readonly randomId: bigint;
  readonly text: string;
}

/** Values that are in no answer by themselves: where they are written, a blank is. */
const MARKS: Blanks = {
  id: 0x5ea10001,
  pts: 0x5ea10002,
  date: 0x5ea10003,
  randomId: 0x5ea10004_5ea10005n,
  text: "\u0001 this is where the text is \u0001",
};

function int(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeInt32LE(value, 0);
  return bytes;
}

function long(value: bigint): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigInt64LE(value, 0);
  return bytes;
}

/** How each blank is written. */
const WRITERS: readonly ((blanks: Blanks) => Buffer)[] = [
  ({ id }) => int(id),
  ({ pts }) => int(pts),
  ({ date }) => int(date),
  ({ randomId }) => long(randomId),
  ({ text }) => writeBytes(Buffer.from(text)),
];

type Part = Buffer | ((blanks: Blanks) => Buffer);

function cut(bytes: Buffer): readonly Part[] {
  let first: { at: number; size: number; writer: (blanks: Blanks) => Buffer } | undefined;
  for (const writer of WRITERS) {
    const mark = writer(MARKS);
    const at = bytes.indexOf(mark);
    if (at >= 0 && (first === undefined || at < first.at)) first = { at, size: mark.length, writer };
  }
  if (first === undefined) return [bytes];
  return [bytes.subarray(0, first.at), first.writer, ...cut(bytes.subarray(first.at + first.size))];
}

/**
 * The bytes of an object in which only a few fields differ from time to time. The library writes it once: writing it
 * each time would be most of the work of a sent message.
 */
export class Template {
  readonly #parts: readonly Part[];

  /** @param render makes the object; called once. */
  constructor(render: (blanks: Blanks) => TlObject) {
    this.#parts = cut(Buffer.from(render(MARKS).getBytes()));
  }

  fill(blanks: Blanks): Buffer {
    return Buffer.concat(this.#parts.map((part) => (typeof part === "function" ? part(blanks) : part)));
  }
}
