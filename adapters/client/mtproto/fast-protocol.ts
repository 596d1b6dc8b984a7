import { createHash, randomBytes } from "node:crypto";
import type { Library, ProtocolState } from "./library.js";
import type { Long, TlReader } from "./tl.js";

/** The reader class with a quick way to 64 bit numbers. */
export type ReaderClass = new (data: Buffer) => TlReader;

/**
 * Both libraries read every 64 bit number by way of hexadecimal text and write it bit by bit: in GramJS a third of the
 * time that a call costs. Made once per adapter.
 */
export function fastReaderClass(library: Library): ReaderClass {
  const { returnBigInt } = library.helpers;
  return class FastReader extends library.BinaryReader {
    override readLong(isSigned = true): Long {
      const bytes = this.read(8);
      return returnBigInt(isSigned ? bytes.readBigInt64LE(0) : bytes.readBigUInt64LE(0));
    }
  };
}

/**
 * Replaces what a connection does for each message by the same with native numbers. MTProto 2.0 as the libraries do
 * it; source: core.telegram.org/mtproto/description. What is rare stays the library's own.
 */
export function quicken(library: Library, Reader: ReaderClass, state: ProtocolState): void {
  const writeSlowly = state.writeDataAsMessage.bind(state);
  const decryptSlowly = state.decryptMessageData.bind(state);
  const keyId = keyIdOf(state);
  state.writeDataAsMessage = async (writer, data, isContent, afterId, givenId) => {
    if (afterId !== undefined || givenId !== undefined) {
      return writeSlowly(writer, data, isContent, afterId, givenId);
    }
    const messageId = state._getNewMsgId();
    const head = Buffer.alloc(16);
    head.writeBigInt64LE(nativeOf(messageId), 0);
    head.writeInt32LE(state._getSeqNo(isContent), 8);
    const body = await library.GZIPPacked.gzipIfSmaller(isContent, data);
    head.writeInt32LE(body.length, 12);
    writer.write(head);
    writer.write(body);
    return messageId;
  };
  state.encryptMessageData = async (data) => {
    await state.authKey.waitForKey();
    const key = keyIn(state);
    const head = Buffer.alloc(16);
    head.writeBigInt64LE(nativeOf(state.salt), 0);
    head.writeBigInt64LE(nativeOf(state.id), 8);
    const padding = 12 + ((16 - ((head.length + data.length + 12) % 16)) % 16);
    const plain = Buffer.concat([head, data, randomBytes(padding)]);
    const messageKey = sha256(key.subarray(88, 120), plain).subarray(8, 24);
    const aes = await state._calcKey(key, messageKey, true);
    return Buffer.concat([keyId(), messageKey, new library.IGE(aes.key, aes.iv).encryptIge(plain)]);
  };
  state.decryptMessageData = async (body) => {
    const isUsual = body.length >= 24 && !state.securityChecks && body.subarray(0, 8).equals(keyId());
    if (!isUsual) return decryptSlowly(body);
    const key = keyIn(state);
    const messageKey = body.subarray(8, 24);
    const aes = await state._calcKey(key, messageKey, false);
    const plain = new library.IGE(aes.key, aes.iv).decryptIge(body.subarray(24));
    if (!messageKey.equals(sha256(key.subarray(96, 128), plain).subarray(8, 24))) return decryptSlowly(body);
    const reader = new Reader(plain);
    reader.offset = 16;
    const messageId = reader.readLong();
    const sequence = reader.readInt();
    reader.readInt();
    return new library.TLMessage(messageId, sequence, reader.tgReadObject());
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
