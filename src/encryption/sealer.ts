import { createCipheriv, createDecipheriv, createHmac, createSecretKey, KeyObject, randomBytes } from "node:crypto";
import { types } from "node:util";
import { ignoreRejection } from "../common/process-warning.js";
import { OptionsError, StorageCorruptError } from "../errors.js";
import { boolean, check, describeType } from "../options/validators.js";

/**
 * Encrypts the texts of a storage, so that the storage alone is of no use. {@link aesGcm} is one; write your own on top of
 * a key service, best with a key that the service unwraps once: every loaded record, every change of credentials and every
 * new peer calls it.
 */
export interface Sealer {
  /**
   * The text, sealed: text again, without NUL or half surrogate pairs. MUST bind the text to `id`, an opaque text that
   * names its place in the storage: what was sealed for one id never opens under another.
   */
  seal(id: string, text: string): string | Promise<string>;
  /**
   * The text that was sealed for this id. MUST fail with an `Error` when it is not exactly that: damaged, moved here
   * from another id, sealed with a key that is not known. Its message is shown as the reason why a record was set
   * aside, so it holds no part of either text.
   */
  open(id: string, sealed: string): string | Promise<string>;
  /**
   * Whether the text is sealed as `seal` would seal it now, so that a rotation of keys may leave it as it is. Judged by
   * its form, without opening it. Without this method a rotation seals every text again.
   */
  isCurrent?(sealed: string): boolean;
  /**
   * Keyed hashes of a text, one for each key in use, that of `seal` first: the first one is stored beside a peer, so that
   * sessions are found by the username of a peer they know. MUST be the same in every process, and reveal nothing to those
   * who have no key. Without this method `knows: "@name"` throws `OptionsError`.
   */
  blindIndexes?(text: string): readonly string[] | Promise<readonly string[]>;
}

/** Options of {@link aesGcm}. */
export interface AesGcmOptions {
  /**
   * Whether `open` takes a text that is not sealed as it is, for one start over a storage that was written without
   * encryption. While it is on, anyone with write access to the storage can add records.
   *
   * @default false
   */
  readonly allowPlaintext?: boolean | undefined;
}

const FORMAT = "sp1";
const HEADER = `${FORMAT}.`;
const CIPHER = "aes-256-gcm";
const IV_BYTES = 12;
/** Passed to cipher and decipher: without the length Node accepts a tag of 4 bytes. */
const TAG_BYTES = 16;
/** Characters of base64url: 132 bits, so that no two texts ever have the same. */
const BLIND_INDEX_LENGTH = 22;

/**
 * Seals with AES-256-GCM, all in this process: `sp1.<key id>.<base64url of iv, tag, ciphertext>`. The first key seals,
 * each one opens what names it: to rotate, put the new key before the old ones, and drop those when nothing is sealed
 * with them any more. Replace a key before it has sealed 2^32 texts (NIST SP 800-38D, 8.3: random nonces).
 *
 * Keep the keys where the storage is not. Seals texts, not their ids.
 *
 * @throws {OptionsError} for anything but keys of 32 bytes, a key that is there twice, and unknown options.
 */
export function aesGcm(keys: AesKey | readonly AesKey[], options: AesGcmOptions = {}): Sealer {
  check("aesGcm", options, { allowPlaintext: boolean });
  return new AesGcmSealer(keyRing(keys), options.allowPlaintext ?? false);
}

/** The key that opens the text is not among the given ones; the text itself may be intact. */
export class KeyMissingError extends StorageCorruptError {}

/** Returns whether the text is sealed with the current key; `false` if the sealer fails, so that it is sealed again. */
export function isFresh(sealer: Sealer, sealed: string): boolean {
  try {
    const answer: unknown = sealer.isCurrent?.(sealed);
    ignoreRejection(answer);
    return answer === true;
  } catch {
    return false;
  }
}

/** Returns whether {@link aesGcm} has sealed the text, judging by its header only. */
export function isSealedText(text: string): boolean {
  return text.startsWith(HEADER);
}

class AesGcmSealer implements Sealer {
  readonly #keys: KeyRing;
  readonly #isPlaintextAllowed: boolean;

  constructor(keys: KeyRing, isPlaintextAllowed: boolean) {
    this.#keys = keys;
    this.#isPlaintextAllowed = isPlaintextAllowed;
  }

  seal(id: string, text: string): string {
    if (/\p{Surrogate}/u.test(text)) throw new OptionsError("A text with half of a surrogate pair cannot be sealed.");
    const { id: keyId, key } = this.#keys.first;
    const iv = randomBytes(IV_BYTES);
    const cipher = createCipheriv(CIPHER, key, iv, { authTagLength: TAG_BYTES });
    cipher.setAAD(placeOf(keyId, id));
    const ciphertext = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
    return `${HEADER}${keyId}.${Buffer.concat([iv, cipher.getAuthTag(), ciphertext]).toString("base64url")}`;
  }

  open(id: string, sealed: string): string {
    if (!isSealedText(sealed)) {
      if (this.#isPlaintextAllowed) return sealed;
      throw new KeyMissingError(
        "it is not sealed; to take in what was written without encryption, open once with aesGcm(key, { allowPlaintext: true })",
      );
    }
    const { keyId, bytes } = split(sealed);
    const key = this.#keys.byId.get(keyId)?.key;
    if (key === undefined) {
      throw new KeyMissingError(
        `it is sealed with the key ${keyId}, which is missing from the list of keys given to aesGcm()`,
      );
    }
    const decipher = createDecipheriv(CIPHER, key, bytes.subarray(0, IV_BYTES), { authTagLength: TAG_BYTES });
    decipher.setAAD(placeOf(keyId, id));
    decipher.setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES));
    const text = decipher.update(bytes.subarray(IV_BYTES + TAG_BYTES));
    try {
      return Buffer.concat([text, decipher.final()]).toString("utf8");
    } catch {
      throw refused("it was damaged, or moved here from another record");
    }
  }

  blindIndexes(text: string): readonly string[] {
    const { first, byId } = this.#keys;
    const keys = [first, ...[...byId.values()].filter((key) => key !== first)];
    const indexes = keys.map(({ indexKey }) =>
      createHmac("sha256", indexKey).update(text, "utf8").digest("base64url").slice(0, BLIND_INDEX_LENGTH),
    );
    return this.#isPlaintextAllowed ? [...indexes, text] : indexes;
  }

  isCurrent(sealed: string): boolean {
    return sealed.startsWith(`${HEADER}${this.#keys.first.id}.`);
  }
}

/** The additional authenticated data. JSON, so that no two places have the same text, whatever is in an id. */
function placeOf(keyId: string, id: string): Buffer {
  return Buffer.from(JSON.stringify([FORMAT, keyId, id]), "utf8");
}

/** The parts of a sealed text that is written as `seal` writes it, and long enough to hold a whole tag. */
function split(sealed: string): { readonly keyId: string; readonly bytes: Buffer } {
  const [, keyId, body] = /^sp1\.([0-9a-f]{8})\.([\w-]+)$/.exec(sealed) ?? [];
  if (keyId !== undefined && body !== undefined) {
    const bytes = Buffer.from(body, "base64url");
    // Decoding is lenient: without this several texts would be one, and a changed last character go unseen.
    if (bytes.length >= IV_BYTES + TAG_BYTES && bytes.toString("base64url") === body) return { keyId, bytes };
  }
  throw refused("it was damaged: it begins as a sealed text and does not go on as one");
}

function refused(reason: string): StorageCorruptError {
  return new StorageCorruptError(reason);
}

/**
 * A key of AES-256: 32 random bytes, as they are (`Buffer`, `Uint8Array`), as hex, base64 or base64url text (whitespace
 * around it is no part of it), or as a secret `KeyObject`. Make one with `openssl rand -base64 32`. A passphrase is
 * not accepted.
 */
export type AesKey = string | Uint8Array | KeyObject;

/** Keys by the ids that sealed texts contain: eight hex characters that reveal nothing of the key. */
interface KeyRing {
  /** The first key of the list. */
  readonly first: NamedKey;
  readonly byId: ReadonlyMap<string, NamedKey>;
}

interface NamedKey {
  readonly id: string;
  readonly key: KeyObject;
  /** Derived from `key`, for blind indexes. */
  readonly indexKey: KeyObject;
}

/** Bytes of a key of AES-256. */
const KEY_BYTES = 32;
const EXPECTED =
  `${KEY_BYTES} random bytes: as a Buffer, as hex, base64 or base64url text, or as a secret KeyObject ` +
  "(make one with: openssl rand -base64 32)";

/** The keys, copied. Throws `OptionsError`, which repeats nothing of a key. */
function keyRing(given: AesKey | readonly AesKey[]): KeyRing {
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
    // Two different keys share an id once in four billion pairs: not worth its own message.
    if (earlier !== undefined)
      throw new OptionsError(`aesGcm: keys ${earlier + 1} and ${index + 1} are the same; give each key once.`);
    places.set(id, index);
  }
  return { first, byId: new Map(keys.map((key) => [key.id, key])) };
}

function nameKey(given: unknown, which: string): NamedKey {
  const key = toKey(given);
  if (key !== undefined) return { id: idOf(key), key, indexKey: indexKeyOf(key) };
  const hint =
    typeof given === "string"
      ? " A passphrase is not a key: it could be guessed by anyone who can read the storage."
      : "";
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

/** One-way, and apart from any other use of the key. */
function indexKeyOf(key: KeyObject): KeyObject {
  return createSecretKey(createHmac("sha256", key).update("telegram-session-pool blind index").digest());
}

function describeKey(given: unknown): string {
  if (types.isUint8Array(given)) return `${given.byteLength} bytes`;
  if (given instanceof KeyObject) {
    return given.type === "secret"
      ? `a secret KeyObject of ${given.symmetricKeySize} bytes`
      : `a ${given.type} KeyObject`;
  }
  return typeof given === "number" ? "a number" : describeType(given);
}
