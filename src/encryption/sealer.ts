import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { ignoreRejection } from "../common/process-warning.js";
import { OptionsError, StorageCorruptError } from "../errors.js";
import { boolean, check } from "../options/validators.js";
import { type AesKey, type KeyRing, keyRing } from "./aes-key.js";

export type { AesKey } from "./aes-key.js";

/**
 * Makes the texts of a storage unreadable to whoever has the storage alone. {@link aesGcm} is one; write your own over a
 * key service, best as one whose key the service unwraps once, for every loaded record, every change of credentials and every new peer asks it.
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
   * its looks, without opening it. Without this method a rotation seals every text anew.
   */
  isCurrent?(sealed: string): boolean;
}

/** Options of {@link aesGcm}. */
export interface AesGcmOptions {
  /**
   * Whether `open` takes a text that is not sealed as it is, for one start over a storage that was written without
   * encryption. While it is on, whoever can write to the storage can put records of their own there.
   *
   * @default false
   */
  readonly allowPlaintext?: boolean | undefined;
}

const FORMAT = "sp1";
const HEADER = `${FORMAT}.`;
const CIPHER = "aes-256-gcm";
const IV_BYTES = 12;
/** Told to cipher and decipher alike: Node takes a tag of 4 bytes for a whole one unless it knows the length. */
const TAG_BYTES = 16;

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

/** What is sealed, or is not, may be in order: the pool was not given what opens it. */
export class KeyMissingError extends StorageCorruptError {}

/** What a sealer says of a text; one that fails at that has it sealed again. */
export function isFresh(sealer: Sealer, sealed: string): boolean {
  try {
    const answer: unknown = sealer.isCurrent?.(sealed);
    ignoreRejection(answer);
    return answer === true;
  } catch {
    return false;
  }
}

/** Whether {@link aesGcm} has sealed the text, by its header alone. */
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
    const key = this.#keys.byId.get(keyId);
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

  isCurrent(sealed: string): boolean {
    return sealed.startsWith(`${HEADER}${this.#keys.first.id}.`);
  }
}

/** What the tag vouches for beside the text. JSON, so that no two places look alike, whatever is in an id. */
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
