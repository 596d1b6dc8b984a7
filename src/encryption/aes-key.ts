import { createHmac, createSecretKey, KeyObject } from "node:crypto";
import { types } from "node:util";
import { OptionsError } from "../errors.js";
import { describeType } from "../options/validators.js";

/**
 * A key of AES-256: 32 random bytes, as they are (`Buffer`, `Uint8Array`), as hex, base64 or base64url text (white space
 * around it is no part of it), or as a secret `KeyObject`. Make one with `openssl rand -base64 32`. A passphrase is no
 * key.
 */
export type AesKey = string | Uint8Array | KeyObject;

/** Keys and the names by which sealed texts ask for them: eight hex characters that tell nothing of the key. */
export interface KeyRing {
  /** The first of the list. */
  readonly first: NamedKey;
  readonly byId: ReadonlyMap<string, KeyObject>;
}

interface NamedKey {
  readonly id: string;
  readonly key: KeyObject;
}

/** Bytes of a key of AES-256. */
const KEY_BYTES = 32;
const EXPECTED =
  `${KEY_BYTES} random bytes: as a Buffer, as hex, base64 or base64url text, or as a secret KeyObject ` +
  "(make one with: openssl rand -base64 32)";

/** The keys, copied. Throws `OptionsError`, which repeats nothing of a key. */
export function keyRing(given: AesKey | readonly AesKey[]): KeyRing {
  const list: readonly unknown[] = Array.isArray(given) ? given : [given];
  const keys = list.map((one, index) =>
    nameKey(one, list.length === 1 ? "the key" : `key ${index + 1} of ${list.length}`),
  );
  const [first] = keys;
  if (first === undefined) {
    throw new OptionsError(`aesGcm: expected a key or a list of keys, each ${EXPECTED}; got an empty list.`);
  }
  const places = new Map<string, number>();
  for (const [index, { id }] of keys.entries()) {
    const earlier = places.get(id);
    // Two different keys share an id once in four thousand million pairs: not worth a sentence of its own.
    if (earlier !== undefined)
      throw new OptionsError(`aesGcm: keys ${earlier + 1} and ${index + 1} are the same; give each key once.`);
    places.set(id, index);
  }
  return { first, byId: new Map(keys.map(({ id, key }) => [id, key])) };
}

function nameKey(given: unknown, which: string): NamedKey {
  const key = toKey(given);
  if (key !== undefined) return { id: idOf(key), key };
  const hint = typeof given === "string" ? " A passphrase is no key: whoever has the storage could guess it." : "";
  throw new OptionsError(`aesGcm: ${which} must be ${EXPECTED}; got ${describeKey(given)}.${hint}`);
}

function toKey(given: unknown): KeyObject | undefined {
  if (given instanceof KeyObject) {
    return given.type === "secret" && given.symmetricKeySize === KEY_BYTES ? given : undefined;
  }
  if (types.isUint8Array(given)) return given.byteLength === KEY_BYTES ? createSecretKey(given) : undefined;
  const bytes = typeof given === "string" ? decode(given.trim()) : undefined;
  if (bytes === undefined) return undefined;
  const key = createSecretKey(bytes);
  bytes.fill(0);
  return key;
}

/** The bytes of a text that is exactly what an encoder writes for 32 bytes. Hex of them is longer than base64 of them. */
function decode(text: string): Buffer | undefined {
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, "hex");
  const digits = /^([A-Za-z0-9_-]{43}|[A-Za-z0-9+/]{43})=?$/.exec(text)?.[1];
  if (digits === undefined) return undefined;
  const bytes = Buffer.from(digits, "base64");
  const isWhole = bytes.toString("base64url") === digits.replaceAll("+", "-").replaceAll("/", "_");
  return isWhole ? bytes : undefined;
}

/** One-way, and apart from any other use of the key, so that the id may stand in the open. */
function idOf(key: KeyObject): string {
  return createHmac("sha256", key).update("telegram-session-pool key id").digest("hex").slice(0, 8);
}

function describeKey(given: unknown): string {
  if (types.isUint8Array(given)) return `${given.byteLength} bytes`;
  if (given instanceof KeyObject) {
    return given.type === "secret"
      ? `a secret KeyObject of ${given.symmetricKeySize} bytes`
      : `a ${given.type} KeyObject`;
  }
  return typeof given === "number" ? "a value of type number" : describeType(given);
}
