import { checkLength, cutOff } from "./lengths.js";

/** A 32 bit number, little-endian; signed or not, the bytes are the same. */
export function tlInt(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0, 0);
  return bytes;
}

/** A TL string: its length in one byte or four, the bytes, zeros up to a multiple of four (core.telegram.org/mtproto/serialize). */
export function tlBytes(value: Uint8Array): Buffer {
  const head = value.length < 254 ? Buffer.from([value.length]) : tlInt(value.length * 256 + 254);
  const padding = Buffer.alloc((4 - ((head.length + value.length) % 4)) % 4);
  return Buffer.concat([head, value, padding]);
}

/** Reads what the two above write, one after the other. */
export class TlReader {
  readonly #bytes: Buffer;
  readonly #format: string;
  #at = 0;

  constructor(bytes: Buffer, format: string) {
    this.#bytes = bytes;
    this.#format = format;
  }

  int(): number {
    return this.#take(4).readInt32LE(0);
  }

  bytes(): Buffer {
    const first = this.#take(1).readUInt8(0);
    const isLong = first === 254;
    const length = isLong ? this.#take(3).readUIntLE(0, 3) : first;
    const value = this.#take(length);
    this.#take((4 - (((isLong ? 4 : 1) + length) % 4)) % 4);
    return value;
  }

  /** Throws unless everything was read. */
  end(): void {
    checkLength(this.#bytes.length, this.#at, this.#format);
  }

  #take(length: number): Buffer {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw cutOff(end - this.#bytes.length, this.#format);
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }
}
