import { createCipheriv, createDecipheriv, createHash, hash, randomFillSync } from "node:crypto";

/**
 * MTProto 2.0 cryptography, the server's half.
 *
 * Source: https://core.telegram.org/mtproto/description
 */

const BLOCK_BYTES = 16;
const BLOCK_WORDS = 4;
/** A key slice is put in front of the plaintext, so that the message key is one hash over one buffer. */
const KEY_SLICE_BYTES = 32;
const MESSAGE_KEY_BYTES = 16;
const AUTH_KEY_ID_BYTES = 8;
const LEAST_PADDING_BYTES = 12;

/** Which side encrypted a message: the `x` of the key derivation. */
type Sender = "client" | "server";

const offsetOf = (sender: Sender): number => (sender === "client" ? 0 : 8);

function words(bytes: Uint8Array): Int32Array {
  const isAligned = bytes.byteOffset % 4 === 0;
  const source = isAligned ? bytes : new Uint8Array(bytes);
  return new Int32Array(source.buffer, source.byteOffset, source.byteLength >> 2);
}

function bytesOf(source: Int32Array): Buffer {
  return Buffer.from(source.buffer, source.byteOffset, source.byteLength);
}

/**
 * AES-256-IGE encryption of whole blocks.
 *
 * IGE is c[i] = E(p[i] ^ c[i-1]) ^ p[i-1]. With y[i] = c[i] ^ p[i-1] that is y[i] = E(p[i] ^ p[i-2] ^ y[i-1]), which is
 * CBC over p[i] ^ p[i-2]: one call into OpenSSL, and two passes of XOR.
 */
export function encryptIge(plain: Uint8Array, key: Uint8Array, iv: Uint8Array): Buffer {
  const p = words(plain);
  const before = words(iv.subarray(BLOCK_BYTES));
  const mixed = new Int32Array(p.length);
  for (let i = 0; i < p.length; i++) {
    const twoBack = i < BLOCK_WORDS ? 0 : i < 2 * BLOCK_WORDS ? before[i - BLOCK_WORDS] : p[i - 2 * BLOCK_WORDS];
    mixed[i] = (p[i] ?? 0) ^ (twoBack ?? 0);
  }
  const cipher = createCipheriv("aes-256-cbc", key, iv.subarray(0, BLOCK_BYTES)).setAutoPadding(false);
  const encrypted = Buffer.from(cipher.update(bytesOf(mixed)));
  const c = words(encrypted);
  const output = new Int32Array(c.length);
  for (let i = 0; i < c.length; i++) {
    const oneBack = i < BLOCK_WORDS ? before[i] : p[i - BLOCK_WORDS];
    output[i] = (c[i] ?? 0) ^ (oneBack ?? 0);
  }
  return bytesOf(output);
}

/** AES-256-IGE decryption of whole blocks: p[i] = D(c[i] ^ p[i-1]) ^ c[i-1], one block at a time. */
export function decryptIge(encrypted: Uint8Array, key: Uint8Array, iv: Uint8Array): Buffer {
  const c = words(encrypted);
  const output = new Int32Array(c.length);
  const cipher = createDecipheriv("aes-256-ecb", key, null).setAutoPadding(false);
  const block = new Int32Array(BLOCK_WORDS);
  const blockBytes = bytesOf(block);
  let lastEncrypted = words(iv.subarray(0, BLOCK_BYTES));
  let lastPlain = words(iv.subarray(BLOCK_BYTES));
  for (let start = 0; start < c.length; start += BLOCK_WORDS) {
    for (let i = 0; i < BLOCK_WORDS; i++) block[i] = (c[start + i] ?? 0) ^ (lastPlain[i] ?? 0);
    const plain = cipher.update(blockBytes);
    for (let i = 0; i < BLOCK_WORDS; i++) output[start + i] = plain.readInt32LE(i * 4) ^ (lastEncrypted[i] ?? 0);
    lastEncrypted = c.subarray(start, start + BLOCK_WORDS);
    lastPlain = output.subarray(start, start + BLOCK_WORDS);
  }
  return bytesOf(output);
}

const sha256 = (bytes: Uint8Array): Buffer => hash("sha256", bytes, "buffer");

/** The AES key and IV of one message. */
function messageSecrets(authKey: Buffer, messageKey: Uint8Array, sender: Sender): { key: Buffer; iv: Buffer } {
  const x = offsetOf(sender);
  const a = sha256(Buffer.concat([messageKey, authKey.subarray(x, x + 36)]));
  const b = sha256(Buffer.concat([authKey.subarray(x + 40, x + 76), messageKey]));
  return {
    key: Buffer.concat([a.subarray(0, 8), b.subarray(8, 24), a.subarray(24, 32)]),
    iv: Buffer.concat([b.subarray(0, 8), a.subarray(8, 24), b.subarray(24, 32)]),
  };
}

/** The message key: the middle of a hash over a slice of the auth key and the padded plaintext. */
function messageKeyOf(headedPlain: Buffer, authKey: Buffer, sender: Sender): Buffer {
  const from = 88 + offsetOf(sender);
  authKey.copy(headedPlain, 0, from, from + KEY_SLICE_BYTES);
  return sha256(headedPlain).subarray(8, 24);
}

/** The id of an auth key: the last 8 bytes of its SHA-1. */
export function authKeyIdOf(authKey: Uint8Array): Buffer {
  return createHash("sha1").update(authKey).digest().subarray(-AUTH_KEY_ID_BYTES);
}

const RANDOM_POOL_BYTES = 1 << 16;
const LONGEST_PADDING_BYTES = LEAST_PADDING_BYTES + BLOCK_BYTES;
const randomPool: Buffer = randomFillSync(Buffer.alloc(RANDOM_POOL_BYTES));
let randomOffset = 0;

/** Padding need not be secret here; it only has to differ from message to message. */
function pad(target: Buffer, from: number): void {
  randomOffset = (randomOffset + 13) % (RANDOM_POOL_BYTES - LONGEST_PADDING_BYTES);
  randomPool.copy(target, from, randomOffset, randomOffset + target.length - from);
}

/** Encrypts a plaintext (salt, session id, message) into a packet. */
export function sealPacket(
  plain: Uint8Array,
  authKey: Buffer,
  authKeyId: Uint8Array,
  sender: Sender = "server",
): Buffer {
  const padding =
    LEAST_PADDING_BYTES + ((BLOCK_BYTES - ((plain.length + LEAST_PADDING_BYTES) % BLOCK_BYTES)) % BLOCK_BYTES);
  const headed = Buffer.allocUnsafeSlow(KEY_SLICE_BYTES + plain.length + padding);
  headed.set(plain, KEY_SLICE_BYTES);
  pad(headed, KEY_SLICE_BYTES + plain.length);
  const messageKey = messageKeyOf(headed, authKey, sender);
  const { key, iv } = messageSecrets(authKey, messageKey, sender);
  return Buffer.concat([authKeyId, messageKey, encryptIge(headed.subarray(KEY_SLICE_BYTES), key, iv)]);
}

/** Decrypts a packet. `undefined` when it is malformed or its message key does not match. */
export function openPacket(packet: Buffer, authKey: Buffer, sender: Sender = "client"): Buffer | undefined {
  const header = AUTH_KEY_ID_BYTES + MESSAGE_KEY_BYTES;
  const size = packet.length - header;
  if (size < 3 * BLOCK_BYTES || size % BLOCK_BYTES !== 0) return undefined;
  const messageKey = packet.subarray(AUTH_KEY_ID_BYTES, header);
  const { key, iv } = messageSecrets(authKey, messageKey, sender);
  const headed = Buffer.allocUnsafeSlow(KEY_SLICE_BYTES + size);
  headed.set(decryptIge(packet.subarray(header), key, iv), KEY_SLICE_BYTES);
  const isGenuine = messageKeyOf(headed, authKey, sender).equals(messageKey);
  return isGenuine ? headed.subarray(KEY_SLICE_BYTES) : undefined;
}
