import { crc32 } from "node:zlib";

/**
 * How packets are cut out of a TCP stream.
 *
 * Source: https://core.telegram.org/mtproto/mtproto-transports
 */
export interface Transport {
  readonly name: "full" | "abridged" | "intermediate";
  /** The packets that `chunk` completes, in order. Throws when the stream cannot be this transport. */
  read(chunk: Buffer): readonly Buffer[];
  /** One packet, ready for the wire. */
  frame(packet: Buffer): Buffer;
}

/** No client sends a larger packet: the stream is broken. */
const LARGEST_PACKET_BYTES = 1 << 25;
const FULL_OVERHEAD_BYTES = 12;
const ABRIDGED_TAG = 0xef;
const INTERMEDIATE_TAG = 0xeeeeeeee;

/** Where one frame lies in the buffer: its whole size, and the packet in it. */
interface FrameBounds {
  readonly size: number;
  readonly start: number;
  readonly end: number;
}

class FrameBuffer {
  #pending: Buffer = Buffer.alloc(0);

  take(chunk: Buffer, measure: (bytes: Buffer) => FrameBounds | undefined, check?: (frame: Buffer) => void): Buffer[] {
    let bytes = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    const packets: Buffer[] = [];
    for (;;) {
      const bounds = measure(bytes);
      if (bounds === undefined) break;
      if (bounds.size > LARGEST_PACKET_BYTES || bounds.end < bounds.start) {
        throw new Error(`A frame of ${bounds.size} bytes cannot be`);
      }
      if (bytes.length < bounds.size) break;
      check?.(bytes.subarray(0, bounds.size));
      packets.push(bytes.subarray(bounds.start, bounds.end));
      bytes = bytes.subarray(bounds.size);
    }
    this.#pending = bytes;
    return packets;
  }
}

class FullTransport implements Transport {
  readonly name = "full";
  readonly #frames = new FrameBuffer();
  #sent = 0;

  read(chunk: Buffer): readonly Buffer[] {
    return this.#frames.take(chunk, FullTransport.#measure, FullTransport.#check);
  }

  static #measure(bytes: Buffer): FrameBounds | undefined {
    if (bytes.length < 4) return undefined;
    const size = bytes.readUInt32LE(0);
    return { size, start: 8, end: size - 4 };
  }

  static #check(frame: Buffer): void {
    const end = frame.length - 4;
    if (crc32(frame.subarray(0, end)) !== frame.readUInt32LE(end)) throw new Error("The frame's CRC32 does not match");
  }

  frame(packet: Buffer): Buffer {
    const frame = Buffer.allocUnsafe(packet.length + FULL_OVERHEAD_BYTES);
    frame.writeUInt32LE(frame.length, 0);
    frame.writeUInt32LE(this.#sent++, 4);
    packet.copy(frame, 8);
    const end = frame.length - 4;
    frame.writeUInt32LE(crc32(frame.subarray(0, end)), end);
    return frame;
  }
}

class AbridgedTransport implements Transport {
  readonly name = "abridged";
  readonly #frames = new FrameBuffer();

  read(chunk: Buffer): readonly Buffer[] {
    return this.#frames.take(chunk, AbridgedTransport.#measure);
  }

  static #measure(bytes: Buffer): FrameBounds | undefined {
    const first = bytes[0];
    if (first === undefined) return undefined;
    const start = first < 0x7f ? 1 : 4;
    if (bytes.length < start) return undefined;
    const size = start + 4 * (first < 0x7f ? first : bytes.readUIntLE(1, 3));
    return { size, start, end: size };
  }

  frame(packet: Buffer): Buffer {
    const length = packet.length >> 2;
    if (length < 0x7f) return Buffer.concat([Buffer.of(length), packet]);
    return Buffer.concat([Buffer.of(0x7f, length & 0xff, (length >> 8) & 0xff, length >> 16), packet]);
  }
}

class IntermediateTransport implements Transport {
  readonly name = "intermediate";
  readonly #frames = new FrameBuffer();

  read(chunk: Buffer): readonly Buffer[] {
    return this.#frames.take(chunk, IntermediateTransport.#measure);
  }

  static #measure(bytes: Buffer): FrameBounds | undefined {
    if (bytes.length < 4) return undefined;
    const size = 4 + bytes.readUInt32LE(0);
    return { size, start: 4, end: size };
  }

  frame(packet: Buffer): Buffer {
    const length = Buffer.allocUnsafe(4);
    length.writeUInt32LE(packet.length, 0);
    return Buffer.concat([length, packet]);
  }
}

/** Tells the transport by the first bytes of a connection, then reads by it. */
export class TransportDetector {
  #first: Buffer = Buffer.alloc(0);
  #transport: Transport | undefined;

  /** `undefined` until enough bytes have arrived to detect it. */
  get transport(): Transport | undefined {
    return this.#transport;
  }

  /** The packets that `chunk` completes. Throws when the stream is none of the transports. */
  read(chunk: Buffer): readonly Buffer[] {
    if (this.#transport !== undefined) return this.#transport.read(chunk);
    const bytes = Buffer.concat([this.#first, chunk]);
    if (bytes[0] === ABRIDGED_TAG) return this.#use(new AbridgedTransport(), bytes.subarray(1));
    if (bytes.length < 4) {
      this.#first = bytes;
      return [];
    }
    const isIntermediate = bytes.readUInt32LE(0) === INTERMEDIATE_TAG;
    if (isIntermediate) return this.#use(new IntermediateTransport(), bytes.subarray(4));
    return this.#use(new FullTransport(), bytes);
  }

  #use(transport: Transport, rest: Buffer): readonly Buffer[] {
    this.#transport = transport;
    this.#first = Buffer.alloc(0);
    return transport.read(rest);
  }
}
