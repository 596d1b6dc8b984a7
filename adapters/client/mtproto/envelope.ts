import { unzipSync } from "node:zlib";
import type { Library } from "./library.js";
import type { ReaderClass } from "./tl.js";

/** Constructors of the protocol itself. Source: core.telegram.org/mtproto/service_messages. */
const CONTAINER = 0x73f1f8dc;
const RPC_RESULT = 0xf35c6d01;
const RPC_ERROR = 0x2144ca19;
const GZIP = 0x3072cfa1;
const FUTURE_SALTS = 0xae500895;

/** What is packed into a message may not become longer than a packet may be. */
const LONGEST_UNPACKED_BYTES = 32 * 1_024 * 1_024;
/** Containers and packed objects may not be nested; a little is put up with. */
const DEEPEST_NESTING = 4;
const MESSAGE_HEAD_BYTES = 16;

/** What a library's handlers get for something that cannot be read: it is acknowledged, and nothing else. */
export const UNREADABLE = { CONSTRUCTOR_ID: 0, SUBCLASS_OF_ID: 0, className: "unreadable" } as const;

/**
 * Reads what a message holds, as the libraries' handlers take it. Something that cannot be read (a constructor of a
 * newer layer, an answer that was cut short) loses nothing that came with it: a library throws the whole container
 * away, with the answers in it, and an answer that it cannot unpack is an unhandled rejection
 * (tl/core/MessageContainer.js, RPCResult.js, GZIPPacked.js of GramJS 2.26.22). `isNew` tells of a message in a container whether
 * its id is a new one.
 */
export class EnvelopeReader {
  readonly #library: Library;
  readonly #Reader: ReaderClass;

  constructor(library: Library, Reader: ReaderClass) {
    this.#library = library;
    this.#Reader = Reader;
  }

  read(body: Buffer, isNew: (id: bigint) => boolean, depth = 0): object {
    try {
      if (depth > DEEPEST_NESTING) return UNREADABLE;
      switch (body.readUInt32LE(0)) {
        case CONTAINER:
          return { ...UNREADABLE, CONSTRUCTOR_ID: CONTAINER, messages: this.#messages(body, isNew, depth) };
        case RPC_RESULT:
          return this.#result(body);
        case FUTURE_SALTS:
          return this.#futureSalts(body);
        case GZIP:
          return this.read(this.#unpacked(body, 4), isNew, depth + 1);
        default:
          return handleable(new this.#Reader(body).tgReadObject());
      }
    } catch {
      return UNREADABLE;
    }
  }

  #messages(body: Buffer, isNew: (id: bigint) => boolean, depth: number): object[] {
    const messages: object[] = [];
    const count = body.readInt32LE(4);
    let offset = 8;
    while (messages.length < count && offset + MESSAGE_HEAD_BYTES <= body.length) {
      const reader = new this.#Reader(body);
      reader.offset = offset;
      const id = reader.readLong();
      const sequence = reader.readInt();
      const length = reader.readInt();
      const start = offset + MESSAGE_HEAD_BYTES;
      offset = start + length;
      if (length < 0 || offset > body.length) break;
      const content = body.subarray(start, offset);
      const object = isNew(body.readBigInt64LE(start - MESSAGE_HEAD_BYTES))
        ? this.read(content, isNew, depth + 1)
        : UNREADABLE;
      messages.push(new this.#library.TLMessage(id, sequence, object));
    }
    return messages;
  }

  #result(body: Buffer): object {
    const reader = new this.#Reader(body);
    reader.offset = 4;
    const result = { ...UNREADABLE, CONSTRUCTOR_ID: RPC_RESULT, reqMsgId: reader.readLong() };
    try {
      const kind = body.readUInt32LE(12);
      if (kind === RPC_ERROR) return { ...result, error: new this.#Reader(body.subarray(12)).tgReadObject() };
      return { ...result, body: kind === GZIP ? this.#unpacked(body, 16) : body.subarray(12) };
    } catch (error) {
      return { ...result, unreadable: error };
    }
  }

  /** Its list has a form that neither library can read. */
  #futureSalts(body: Buffer): object {
    const { FutureSalts, FutureSalt } = this.#library.Api;
    const reader = new this.#Reader(body);
    reader.offset = 4;
    const [reqMsgId, now, count] = [reader.readLong(), reader.readInt(), reader.readInt()];
    const salts: object[] = [];
    while (salts.length < count) {
      salts.push(
        new FutureSalt({ validSince: reader.readInt(), validUntil: reader.readInt(), salt: reader.readLong() }),
      );
    }
    return new FutureSalts({ reqMsgId, now, salts });
  }

  #unpacked(body: Buffer, offset: number): Buffer {
    const reader = new this.#Reader(body);
    reader.offset = offset;
    return unzipSync(reader.tgReadBytes(), { maxOutputLength: LONGEST_UNPACKED_BYTES });
  }
}

/** A library looks its handlers up by the constructor's number. */
function handleable(object: unknown): object {
  const isObject = typeof object === "object" && object !== null;
  return isObject && typeof Reflect.get(object, "CONSTRUCTOR_ID") === "number" ? object : UNREADABLE;
}
