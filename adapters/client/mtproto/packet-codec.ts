import { createHash, randomBytes } from "node:crypto";
import { unzipSync } from "node:zlib";
import type { Library, Long, ProtocolState, ReaderClass, Writer } from "./library.js";

/**
 * The library's reader with native 64-bit numbers. Both libraries convert every 64-bit number through hexadecimal text and
 * write it bit by bit: in GramJS a third of the time that a call costs. Made once per adapter.
 */
export function nativeReaderClass(library: Library): ReaderClass {
  const { returnBigInt } = library.helpers;
  return class NativeReader extends library.BinaryReader {
    override readLong(isSigned = true): Long {
      const bytes = this.read(8);
      return returnBigInt(isSigned ? bytes.readBigInt64LE(0) : bytes.readBigUInt64LE(0));
    }
  };
}

/** One message of a packet: the serialized request, and the bytes written for it. */
interface Part {
  readonly data: Buffer;
  readonly written: Buffer[];
}

/** Salt, session id, message id, sequence number and length. */
const MIN_ENCRYPTED_BYTES = 32;
/** Message id, sequence number and length. */
const MESSAGE_HEAD_BYTES = 16;

/**
 * Encrypts and decrypts the packets of one connection in the place of the library, with native numbers. MTProto 2.0;
 * source: core.telegram.org/mtproto/description. Received packets are also checked as the protocol requires; source of
 * each check: core.telegram.org/mtproto/security_guidelines.
 */
export class PacketCodec {
  readonly #library: Library;
  readonly #state: ProtocolState;
  readonly #envelopes: EnvelopeReader;
  readonly #received = new ReceivedMessages();
  readonly #contents = new WeakMap<Buffer, readonly Part[]>();
  readonly #writeByLibrary: ProtocolState["writeDataAsMessage"];
  readonly #decryptByLibrary: ProtocolState["decryptMessageData"];
  #packing: Part[] = [];
  /** Fixed from the first packet on: a connection never changes its key. */
  #key: { readonly bytes: Buffer; readonly id: Buffer } | undefined;

  /** Replaces the methods of `state` that pack, encrypt and decrypt. */
  constructor(library: Library, Reader: ReaderClass, state: ProtocolState) {
    this.#library = library;
    this.#state = state;
    this.#envelopes = new EnvelopeReader(library, Reader, this.#received);
    this.#writeByLibrary = state.writeDataAsMessage.bind(state);
    this.#decryptByLibrary = state.decryptMessageData.bind(state);
    state.writeDataAsMessage = this.#writeMessage.bind(this);
    state.encryptMessageData = this.#encryptPacket.bind(this);
    state.decryptMessageData = this.#decryptPacket.bind(this);
  }

  /**
   * The packet without the messages for which `isDropped` returns true, given their serialized requests; `undefined` when
   * none is left.
   */
  without(packet: Buffer, isDropped: (data: Buffer) => boolean): Buffer | undefined {
    const parts = this.#contents.get(packet) ?? [];
    // A packet of several messages ends with their container, which contains all of them.
    const container = parts.length > 1 ? parts.at(-1) : undefined;
    const count = container === undefined ? parts.length : parts.length - 1;
    const left: Part[] = [];
    for (const part of parts) {
      if (part !== container && !isDropped(part.data)) left.push(part);
    }
    if (left.length === count) return packet;
    if (container === undefined || left.length === 0) return undefined;
    return this.#encrypt(repacked(container, left));
  }

  async #writeMessage(writer: Writer, data: Buffer, isContent: boolean, afterId?: Long, givenId?: Long): Promise<Long> {
    const written: Buffer[] = [];
    this.#packing.push({ data, written });
    if (afterId !== undefined || givenId !== undefined) {
      const write = (bytes: Buffer): void => {
        written.push(bytes);
        writer.write(bytes);
      };
      return this.#writeByLibrary({ write }, data, isContent, afterId, givenId);
    }
    const messageId = this.#state._getNewMsgId();
    const head = Buffer.alloc(MESSAGE_HEAD_BYTES);
    head.writeBigInt64LE(nativeOf(messageId), 0);
    head.writeInt32LE(this.#state._getSeqNo(isContent), 8);
    const body = await this.#library.GZIPPacked.gzipIfSmaller(isContent, data);
    head.writeInt32LE(body.length, 12);
    written.push(head, body);
    writer.write(head);
    writer.write(body);
    return messageId;
  }

  async #encryptPacket(data: Buffer): Promise<Buffer> {
    const parts = this.#packing;
    this.#packing = [];
    if (this.#key === undefined) await this.#state.authKey.waitForKey();
    const packet = this.#encrypt(data);
    this.#contents.set(packet, parts);
    return packet;
  }

  #encrypt(data: Buffer): Buffer {
    this.#key ??= keyOf(this.#state);
    const { bytes: key, id } = this.#key;
    const head = Buffer.alloc(16);
    head.writeBigInt64LE(nativeOf(this.#state.salt), 0);
    head.writeBigInt64LE(nativeOf(this.#state.id), 8);
    const padding = 12 + ((16 - ((head.length + data.length + 12) % 16)) % 16);
    const plain = Buffer.concat([head, data, randomBytes(padding)]);
    const messageKey = sha256(key.subarray(88, 120), plain).subarray(8, 24);
    return Buffer.concat([id, messageKey, this.#cipher(key, messageKey, 0).encryptIge(plain)]);
  }

  async #decryptPacket(packet: Buffer): Promise<unknown> {
    // Four bytes are a transport error, which the library reads.
    if (packet.length < 8) return this.#decryptByLibrary(packet);
    this.#key ??= keyOf(this.#state);
    const { bytes: key, id: keyId } = this.#key;
    const encrypted = packet.subarray(24);
    if (!packet.subarray(0, 8).equals(keyId)) this.#refuse("it is for another key");
    if (encrypted.length < MIN_ENCRYPTED_BYTES || encrypted.length % 16 !== 0) this.#refuse("its length is impossible");
    const messageKey = packet.subarray(8, 24);
    const plain = this.#cipher(key, messageKey, 8).decryptIge(encrypted);
    if (!messageKey.equals(sha256(key.subarray(96, 128), plain).subarray(8, 24))) this.#refuse("its msg_key is wrong");
    const length = plain.readInt32LE(28);
    const padding = plain.length - MIN_ENCRYPTED_BYTES - length;
    if (length < 4 || length % 4 !== 0 || padding < 12 || padding > 1_024) {
      this.#refuse("the length of its message is wrong");
    }
    const id = plain.readBigInt64LE(16);
    const freshness = this.#received.judge(plain.readBigInt64LE(8), nativeOf(this.#state.id), id);
    if (freshness === "forbidden") this.#refuse("it belongs to another session or time");
    const body = plain.subarray(MIN_ENCRYPTED_BYTES, MIN_ENCRYPTED_BYTES + length);
    const content = freshness === "new" ? this.#envelopes.read(body) : UNREADABLE;
    return new this.#library.TLMessage(this.#library.helpers.returnBigInt(id), plain.readInt32LE(24), content);
  }

  /** Not in the words of the library: teleproto takes those about the key for a key that the server has forgotten. */
  #refuse(reason: string): never {
    throw new this.#library.errors.SecurityError(`A packet was ignored: ${reason}.`);
  }

  /** `x`: 0 for what the client sends, 8 for what the server sends. */
  #cipher(key: Buffer, messageKey: Buffer, x: 0 | 8): InstanceType<Library["IGE"]> {
    const a = sha256(messageKey, key.subarray(x, x + 36));
    const b = sha256(key.subarray(x + 40, x + 76), messageKey);
    return new this.#library.IGE(
      Buffer.concat([a.subarray(0, 8), b.subarray(8, 24), a.subarray(24, 32)]),
      Buffer.concat([b.subarray(0, 8), a.subarray(8, 24), b.subarray(24, 32)]),
    );
  }
}

/** The container again, with the remaining messages only. */
function repacked(container: Part, left: readonly Part[]): Buffer {
  const count = Buffer.from(container.data.subarray(0, 8));
  count.writeInt32LE(left.length, 4);
  const body = Buffer.concat([count, ...left.flatMap(({ written }) => written)]);
  const head = Buffer.from(Buffer.concat(container.written).subarray(0, MESSAGE_HEAD_BYTES));
  head.writeInt32LE(body.length, 12);
  return Buffer.concat([head, body]);
}

function nativeOf(long: Long): bigint {
  return BigInt.asIntN(64, typeof long.value === "bigint" ? long.value : BigInt(long.toString()));
}

/** The auth key, and its id: the last 8 bytes of its SHA-1. */
function keyOf(state: ProtocolState): { readonly bytes: Buffer; readonly id: Buffer } {
  const bytes = state.authKey.getKey();
  if (bytes === undefined) throw new Error("The connection has no auth key.");
  return { bytes, id: createHash("sha1").update(bytes).digest().subarray(12, 20) };
}

function sha256(first: Buffer, second: Buffer): Buffer {
  return createHash("sha256").update(first).update(second).digest();
}

/** How many ids of received messages are remembered. */
const REMEMBERED_IDS = 1_000;
/** How far the time of a message may deviate from the server's, in seconds. */
const MAX_PAST_SECONDS = 300;
const MAX_FUTURE_SECONDS = 30;

/** The kind of a received message. A "known" one is acknowledged again, but not processed. */
type Freshness = "new" | "known" | "forbidden";

/**
 * Tells the server's messages from replayed copies, which anyone on the route can send without a key: by their session,
 * and by the parity, the time and the uniqueness of their ids. Neither library checks them by default, and GramJS's
 * `securityChecks` does not check the session (network/MTProtoState.js, 2.26.22).
 */
class ReceivedMessages {
  readonly #ids = new Set<bigint>();
  /** The highest id that was dropped from the set: ids up to it cannot be distinguished from copies. */
  #highestDropped = 0n;
  /** The server's time as its own messages give it, in seconds: the machine's clock may be wrong. */
  #serverTime: number | undefined;
  #wallAtServerTime = 0;
  #monotonicAtServerTime = 0;

  /** `session`: the one that the message names; `own`: the connection's. */
  judge(session: bigint, own: bigint, id: bigint): Freshness {
    if (session !== own || (id & 1n) === 0n || !this.#isTimely(Number(id >> 32n))) return "forbidden";
    return this.add(id) ? "new" : "known";
  }

  /** Remembers the id; returns whether it is new. For messages in a container, where old ones are sent again. */
  add(id: bigint): boolean {
    if (id <= this.#highestDropped || this.#ids.has(id)) return false;
    this.#ids.add(id);
    if (this.#ids.size > REMEMBERED_IDS) this.#dropOldest();
    return true;
  }

  #dropOldest(): void {
    const [oldest] = this.#ids;
    if (oldest === undefined) return;
    this.#ids.delete(oldest);
    if (oldest > this.#highestDropped) this.#highestDropped = oldest;
  }

  /**
   * The elapsed time is uncertain: the monotonic clock may stop while the machine is suspended, and the wall clock may be
   * set. The bounds are taken from the two. Both are the system's own and not the pool's `clock`: what another host
   * replays does not depend on how the user's program sees time, and an injected clock may stand still.
   */
  #isTimely(seconds: number): boolean {
    const wall = Date.now() / 1_000;
    const monotonic = performance.now() / 1_000;
    if (this.#serverTime !== undefined) {
      const elapsedByWall = wall - this.#wallAtServerTime;
      const elapsedByMonotonic = monotonic - this.#monotonicAtServerTime;
      const least = Math.min(elapsedByWall, elapsedByMonotonic);
      const most = Math.max(elapsedByWall, elapsedByMonotonic);
      if (seconds < this.#serverTime + least - MAX_PAST_SECONDS) return false;
      if (seconds > this.#serverTime + most + MAX_FUTURE_SECONDS) return false;
      if (seconds < this.#serverTime) return true;
    }
    this.#serverTime = seconds;
    this.#wallAtServerTime = wall;
    this.#monotonicAtServerTime = monotonic;
    return true;
  }
}

/** Constructors of the protocol itself. Source: core.telegram.org/mtproto/service_messages. */
const CONTAINER = 0x73f1f8dc;
const RPC_RESULT = 0xf35c6d01;
const RPC_ERROR = 0x2144ca19;
const GZIP = 0x3072cfa1;
const FUTURE_SALTS = 0xae500895;

/** An object packed into a message must not unpack to more than a packet may hold. */
const MAX_UNPACKED_BYTES = 32 * 1_024 * 1_024;
/** Containers and packed objects must not be nested; a few levels are tolerated. */
const DEEPEST_NESTING = 4;

/** Passed to a library's handlers for an unreadable message, which is acknowledged but not processed. */
const UNREADABLE = { CONSTRUCTOR_ID: 0, SUBCLASS_OF_ID: 0, className: "unreadable" } as const;

/**
 * Reads the content of a message in the form that the libraries' handlers take. An unreadable object (a constructor of a
 * newer layer, a truncated answer) loses nothing that came with it: a library throws the whole container away, with the
 * answers in it, and an answer that it cannot unpack is an unhandled rejection (tl/core/MessageContainer.js, RPCResult.js,
 * GZIPPacked.js of GramJS 2.26.22).
 */
class EnvelopeReader {
  readonly #library: Library;
  readonly #Reader: ReaderClass;
  readonly #received: ReceivedMessages;

  constructor(library: Library, Reader: ReaderClass, received: ReceivedMessages) {
    this.#library = library;
    this.#Reader = Reader;
    this.#received = received;
  }

  read(body: Buffer, depth = 0): object {
    try {
      if (depth > DEEPEST_NESTING) return UNREADABLE;
      switch (body.readUInt32LE(0)) {
        case CONTAINER:
          return { ...UNREADABLE, CONSTRUCTOR_ID: CONTAINER, messages: this.#messages(body, depth) };
        case RPC_RESULT:
          return this.#result(body);
        case FUTURE_SALTS:
          return this.#futureSalts(body);
        case GZIP:
          return this.read(this.#unpacked(body, 4), depth + 1);
        default:
          return handleable(new this.#Reader(body).tgReadObject());
      }
    } catch {
      return UNREADABLE;
    }
  }

  #messages(body: Buffer, depth: number): object[] {
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
      const isNew = this.#received.add(body.readBigInt64LE(start - MESSAGE_HEAD_BYTES));
      const object = isNew ? this.read(body.subarray(start, offset), depth + 1) : UNREADABLE;
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

  /** Neither library can read the form of its list. */
  #futureSalts(body: Buffer): object {
    const { FutureSalts, FutureSalt } = this.#library.Api;
    const reader = new this.#Reader(body);
    reader.offset = 4;
    const [reqMsgId, now, count] = [reader.readLong(), reader.readInt(), reader.readInt()];
    const salts: object[] = [];
    while (salts.length < count) {
      const [validSince, validUntil] = [reader.readInt(), reader.readInt()];
      salts.push(new FutureSalt({ validSince, validUntil, salt: reader.readLong() }));
    }
    return new FutureSalts({ reqMsgId, now, salts });
  }

  #unpacked(body: Buffer, offset: number): Buffer {
    const reader = new this.#Reader(body);
    reader.offset = offset;
    return unzipSync(reader.tgReadBytes(), { maxOutputLength: MAX_UNPACKED_BYTES });
  }
}

/** A library finds the handler of an object by its constructor's number. */
function handleable(object: unknown): object {
  const isObject = typeof object === "object" && object !== null;
  return isObject && typeof Reflect.get(object, "CONSTRUCTOR_ID") === "number" ? object : UNREADABLE;
}
