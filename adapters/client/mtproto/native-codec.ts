import { createHash, randomBytes } from "node:crypto";
import { EnvelopeReader, UNREADABLE } from "./envelope.js";
import type { Library, ProtocolState } from "./library.js";
import { ReceivedMessages } from "./received-messages.js";
import type { Long, ReaderClass } from "./tl.js";

/**
 * Both libraries read every 64 bit number by way of hexadecimal text and write it bit by bit: in GramJS a third of the
 * time that a call costs. Made once per adapter.
 */
export function nativeReaderClass(library: Library): ReaderClass {
  const { returnBigInt } = library.helpers;
  return class FastReader extends library.BinaryReader {
    override readLong(isSigned = true): Long {
      const bytes = this.read(8);
      return returnBigInt(isSigned ? bytes.readBigInt64LE(0) : bytes.readBigUInt64LE(0));
    }
  };
}

/** A message of a packet: the request's bytes it was made of, and its own. */
interface Part {
  readonly data: Buffer;
  readonly written: Buffer[];
}

/** The packets of one connection, looked at once more before they are written. */
export interface Packets {
  /**
   * The packet without those of its messages that `isDropped` tells by the bytes of their requests; `undefined` when
   * nothing is left of it.
   */
  without(packet: Buffer, isDropped: (data: Buffer) => boolean): Buffer | undefined;
}

/**
 * Replaces what a connection does for each message by the same with native numbers. MTProto 2.0 as the libraries do
 * it; source: core.telegram.org/mtproto/description. Beyond that, what was received is checked as the protocol asks.
 */
export function patchCodec(library: Library, Reader: ReaderClass, state: ProtocolState): Packets {
  const writeSlowly = state.writeDataAsMessage.bind(state);
  const keyId = keyIdOf(state);
  const encrypt = encryption(library, state, keyId);
  const contents = new WeakMap<Buffer, readonly Part[]>();
  let packing: Part[] = [];
  state.writeDataAsMessage = async (writer, data, isContent, afterId, givenId) => {
    const written: Buffer[] = [];
    packing.push({ data, written });
    const write = (bytes: Buffer): void => {
      written.push(bytes);
      writer.write(bytes);
    };
    if (afterId !== undefined || givenId !== undefined) {
      return writeSlowly({ write }, data, isContent, afterId, givenId);
    }
    const messageId = state._getNewMsgId();
    const head = Buffer.alloc(MESSAGE_HEAD_BYTES);
    head.writeBigInt64LE(nativeOf(messageId), 0);
    head.writeInt32LE(state._getSeqNo(isContent), 8);
    const body = await library.GZIPPacked.gzipIfSmaller(isContent, data);
    head.writeInt32LE(body.length, 12);
    write(head);
    write(body);
    return messageId;
  };
  state.encryptMessageData = async (data) => {
    const parts = packing;
    packing = [];
    await state.authKey.waitForKey();
    const packet = encrypt(data);
    contents.set(packet, parts);
    return packet;
  };
  state.decryptMessageData = decryption(library, Reader, state, keyId);
  return { without: (packet, isDropped) => repacked(packet, contents.get(packet) ?? [], isDropped, encrypt) };
}

/** A packet of several messages is a container: the last part, whose message has all the others in it. */
function repacked(
  packet: Buffer,
  parts: readonly Part[],
  isDropped: (data: Buffer) => boolean,
  encrypt: (data: Buffer) => Buffer,
): Buffer | undefined {
  const container = parts.length > 1 ? parts.at(-1) : undefined;
  const inner = container === undefined ? parts : parts.slice(0, -1);
  const left = inner.filter(({ data }) => !isDropped(data));
  if (left.length === inner.length) return packet;
  if (container === undefined || left.length === 0) return undefined;
  const count = Buffer.from(container.data.subarray(0, 8));
  count.writeInt32LE(left.length, 4);
  const body = Buffer.concat([count, ...left.flatMap(({ written }) => written)]);
  const head = Buffer.from(Buffer.concat(container.written).subarray(0, MESSAGE_HEAD_BYTES));
  head.writeInt32LE(body.length, 12);
  return encrypt(Buffer.concat([head, body]));
}

function encryption(library: Library, state: ProtocolState, keyId: () => Buffer): (data: Buffer) => Buffer {
  return (data) => {
    const key = keyIn(state);
    const head = Buffer.alloc(16);
    head.writeBigInt64LE(nativeOf(state.salt), 0);
    head.writeBigInt64LE(nativeOf(state.id), 8);
    const padding = 12 + ((16 - ((head.length + data.length + 12) % 16)) % 16);
    const plain = Buffer.concat([head, data, randomBytes(padding)]);
    const messageKey = sha256(key.subarray(88, 120), plain).subarray(8, 24);
    const aes = aesOf(key, messageKey, 0);
    return Buffer.concat([keyId(), messageKey, new library.IGE(aes.key, aes.iv).encryptIge(plain)]);
  };
}

/** Source of each check: core.telegram.org/mtproto/security_guidelines. */
function decryption(
  library: Library,
  Reader: ReaderClass,
  state: ProtocolState,
  keyId: () => Buffer,
): (packet: Buffer) => Promise<unknown> {
  const decryptSlowly = state.decryptMessageData.bind(state);
  const received = new ReceivedMessages();
  const envelopes = new EnvelopeReader(library, Reader);
  const refuse = (what: string): never => {
    // Not in the words of the library: teleproto takes those about the key for a key that the server has forgotten.
    throw new library.errors.SecurityError(`A packet was ignored: ${what}.`);
  };
  return async (packet) => {
    // Four bytes: a transport error, which the library knows to read.
    if (packet.length < 8) return decryptSlowly(packet);
    const encrypted = packet.subarray(24);
    if (!packet.subarray(0, 8).equals(keyId())) refuse("it is for another key");
    if (encrypted.length < LEAST_ENCRYPTED_BYTES || encrypted.length % 16 !== 0) refuse("it is of no possible length");
    const key = keyIn(state);
    const messageKey = packet.subarray(8, 24);
    const aes = aesOf(key, messageKey, 8);
    const plain = new library.IGE(aes.key, aes.iv).decryptIge(encrypted);
    if (!messageKey.equals(sha256(key.subarray(96, 128), plain).subarray(8, 24))) refuse("its msg_key is wrong");
    const length = plain.readInt32LE(28);
    const padding = plain.length - LEAST_ENCRYPTED_BYTES - length;
    if (length < 4 || length % 4 !== 0 || padding < 12 || padding > 1_024) refuse("its message is of a wrong length");
    const id = plain.readBigInt64LE(16);
    const freshness = received.judge(plain.readBigInt64LE(8), nativeOf(state.id), id);
    if (freshness === "forbidden") refuse("it is of another session or time");
    const isNew = (inner: bigint): boolean => received.takeIn(inner);
    const body = plain.subarray(LEAST_ENCRYPTED_BYTES, LEAST_ENCRYPTED_BYTES + length);
    const content = freshness === "new" ? envelopes.read(body, isNew) : UNREADABLE;
    return new library.TLMessage(library.helpers.returnBigInt(id), plain.readInt32LE(24), content);
  };
}

/** Salt, session, message id, sequence number and length. */
const LEAST_ENCRYPTED_BYTES = 32;
const MESSAGE_HEAD_BYTES = 16;

/** `x`: 0 for what the client sends, 8 for what the server does. */
function aesOf(key: Buffer, messageKey: Buffer, x: 0 | 8): { readonly key: Buffer; readonly iv: Buffer } {
  const a = sha256(messageKey, key.subarray(x, x + 36));
  const b = sha256(key.subarray(x + 40, x + 76), messageKey);
  return {
    key: Buffer.concat([a.subarray(0, 8), b.subarray(8, 24), a.subarray(24, 32)]),
    iv: Buffer.concat([b.subarray(0, 8), a.subarray(8, 24), b.subarray(24, 32)]),
  };
}

function nativeOf(long: Long): bigint {
  return BigInt.asIntN(64, typeof long.value === "bigint" ? long.value : BigInt(long.toString()));
}

function keyIn(state: ProtocolState): Buffer {
  const key = state.authKey.getKey();
  if (key === undefined) throw new Error("The connection has no auth key.");
  return key;
}

/** The last 8 bytes of the key's SHA-1, computed when the key changes. */
function keyIdOf(state: ProtocolState): () => Buffer {
  let known: { readonly key: Buffer; readonly id: Buffer } | undefined;
  return () => {
    const key = keyIn(state);
    if (known?.key !== key) known = { key, id: createHash("sha1").update(key).digest().subarray(12, 20) };
    return known.id;
  };
}

function sha256(...parts: readonly Buffer[]): Buffer {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
}
