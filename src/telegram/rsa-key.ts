import { createHash, createPublicKey, type KeyObject } from "node:crypto";

/** An RSA public key in numbers: big-endian, without leading zeros. */
export interface RsaNumbers {
  readonly modulus: Buffer;
  readonly exponent: Buffer;
}

/** Returns the numbers of an RSA public key, given as key object or PEM text. Throws a `TypeError` for anything else. */
export function rsaNumbers(key: KeyObject | string): RsaNumbers {
  const { kty, n, e } = readKey(key).export({ format: "jwk" });
  if (kty !== "RSA" || n === undefined || e === undefined) throw new TypeError("The key is no RSA public key.");
  return { modulus: Buffer.from(n, "base64url"), exponent: Buffer.from(e, "base64url") };
}

/**
 * By what a server names its RSA key: the last 8 bytes of the SHA-1 of both numbers, as a signed number. Throws a
 * `TypeError` for what is no RSA public key. Source: core.telegram.org/mtproto/auth_key#dh-exchange-initiation.
 */
export function rsaFingerprint(key: KeyObject | string): bigint {
  const { modulus, exponent } = rsaNumbers(key);
  const hash = createHash("sha1").update(tlBytes(modulus)).update(tlBytes(exponent)).digest();
  return hash.readBigInt64LE(hash.length - 8);
}

function readKey(key: KeyObject | string): KeyObject {
  if (typeof key !== "string") return key;
  try {
    return createPublicKey(key);
  } catch {
    throw new TypeError("The text is no public key in PEM.");
  }
}

/** As Telegram's type language writes bytes. Source: core.telegram.org/mtproto/serialize#base-types. */
function tlBytes(value: Uint8Array): Buffer {
  const head = value.length < 254 ? Buffer.of(value.length) : Buffer.of(254, value.length & 255, value.length >> 8, 0);
  const written = Buffer.concat([head, value]);
  return Buffer.concat([written, Buffer.alloc((4 - (written.length % 4)) % 4)]);
}
