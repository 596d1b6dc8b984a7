import {
  constants,
  createDiffieHellman,
  createHash,
  type DiffieHellman,
  generateKeyPairSync,
  type KeyObject,
  privateDecrypt,
  randomBytes,
} from "node:crypto";
import { rsaFingerprint } from "../../telegram/rsa-key.js";
import { TELEGRAM_PRIME } from "../../telegram/srp.js";
import { decryptIge, encryptIge } from "./crypto.js";
import { readBytes, writeBytes } from "./messages.js";

/**
 * How a client and the server agree upon a new auth key: the server's half.
 *
 * Source: https://core.telegram.org/mtproto/auth_key
 */
const REQ_PQ = 0x60469778;
const REQ_PQ_MULTI = 0xbe7e8ef1;
const REQ_DH_PARAMS = 0xd712e4be;
const SET_CLIENT_DH_PARAMS = 0xf5045f1f;
const RES_PQ = 0x05162463;
const PQ_INNER_DATA = 0x83c95aec;
const PQ_INNER_DATA_DC = 0xa9f55f95;
const SERVER_DH_PARAMS_OK = 0xd0e8075c;
const SERVER_DH_INNER_DATA = 0xb5890dba;
const CLIENT_DH_INNER_DATA = 0x6643b654;
const DH_GEN_OK = 0x3bcbf734;
const VECTOR = 0x1cb5c415;

/** Small ones, far apart: the client has to factorize their product, which only costs time. */
const P = 104_729;
const Q = 32_452_843;
const G = 3;
const RSA_BITS = 2048;
const KEY_BYTES = 256;
const NONCE_BYTES = 16;
const NEW_NONCE_BYTES = 32;
const BLOCK_BYTES = 16;
const SHA1_BYTES = 20;
const TEMP_KEY_BYTES = 32;
const PADDED_DATA_BYTES = 192;

/** The RSA key pair of a server. */
export interface RsaKeyPair {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  /** The public key in PEM (SPKI). */
  readonly pem: string;
}

let keyPair: RsaKeyPair | undefined;

/** The RSA key pair of this process's test servers, generated on first use: that takes a tenth of a second or so. */
export function serverKeyPair(): RsaKeyPair {
  if (keyPair !== undefined) return keyPair;
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: RSA_BITS });
  keyPair = { privateKey, publicKey, pem: publicKey.export({ type: "spki", format: "pem" }).toString() };
  return keyPair;
}

/** What a step of the exchange ends with. */
export interface KeyExchangeStep {
  readonly answer: Buffer;
  /** The key, once there is one, and the salt to begin with. */
  readonly agreed?: { readonly authKey: Buffer; readonly salt: bigint };
}

/** The exchange of one connection. Every step throws an `Error` when the client does not keep to the protocol. */
export class KeyExchange {
  #nonce = Buffer.alloc(NONCE_BYTES);
  #serverNonce = Buffer.alloc(NONCE_BYTES);
  #newNonce = Buffer.alloc(NEW_NONCE_BYTES);
  #group: DiffieHellman | undefined;

  /** `undefined` for what needs no answer. */
  receive(body: Buffer): KeyExchangeStep | undefined {
    switch (body.readUInt32LE(0)) {
      case REQ_PQ:
      case REQ_PQ_MULTI:
        return { answer: this.#offer(body) };
      case REQ_DH_PARAMS:
        return { answer: this.#sendParams(body) };
      case SET_CLIENT_DH_PARAMS:
        return this.#agree(body);
      default:
        return undefined;
    }
  }

  #offer(body: Buffer): Buffer {
    this.#nonce = Buffer.from(body.subarray(4, 4 + NONCE_BYTES));
    this.#serverNonce = randomBytes(NONCE_BYTES);
    const fingerprint = Buffer.alloc(8);
    fingerprint.writeBigInt64LE(rsaFingerprint(serverKeyPair().publicKey));
    const product = bytesOf(P * Q);
    const nonces = this.#nonces();
    return Buffer.concat([id(RES_PQ), nonces, writeBytes(product), id(VECTOR), id(1), fingerprint]);
  }

  #sendParams(body: Buffer): Buffer {
    this.#check(body);
    const pAt = 4 + 2 * NONCE_BYTES;
    const p = readBytes(body, pAt);
    const qAt = pAt + writeBytes(p).length;
    const encryptedAt = qAt + writeBytes(readBytes(body, qAt)).length + 8;
    const inner = decryptInnerData(readBytes(body, encryptedAt));
    const kind = inner.readUInt32LE(0);
    if (kind !== PQ_INNER_DATA && kind !== PQ_INNER_DATA_DC) throw new Error("Expected p_q_inner_data");
    let at = 4;
    for (let field = 0; field < 3; field++) at += writeBytes(readBytes(inner, at)).length;
    const noncesAt = at + 2 * NONCE_BYTES;
    if (!inner.subarray(at, noncesAt).equals(this.#nonces())) throw new Error("p_q_inner_data has other nonces");
    this.#newNonce = Buffer.from(inner.subarray(noncesAt, noncesAt + NEW_NONCE_BYTES));
    this.#group = createDiffieHellman(TELEGRAM_PRIME, G);
    const answer = Buffer.concat([
      id(SERVER_DH_INNER_DATA),
      this.#nonces(),
      id(G),
      writeBytes(TELEGRAM_PRIME),
      writeBytes(this.#group.generateKeys()),
      id(Math.floor(Date.now() / 1000)),
    ]);
    const { key, iv } = this.#secrets();
    const hashed = padToBlocks(Buffer.concat([sha1(answer), answer]));
    return Buffer.concat([id(SERVER_DH_PARAMS_OK), this.#nonces(), writeBytes(encryptIge(hashed, key, iv))]);
  }

  #agree(body: Buffer): KeyExchangeStep {
    this.#check(body);
    const group = this.#group;
    if (group === undefined) throw new Error("set_client_DH_params before req_DH_params");
    const { key, iv } = this.#secrets();
    const plain = decryptIge(Buffer.from(readBytes(body, 4 + 2 * NONCE_BYTES)), key, iv);
    const inner = plain.subarray(SHA1_BYTES);
    if (inner.readUInt32LE(0) !== CLIENT_DH_INNER_DATA) throw new Error("Expected client_DH_inner_data");
    const gB = readBytes(inner, 4 + 2 * NONCE_BYTES + 8);
    const length = 4 + 2 * NONCE_BYTES + 8 + writeBytes(gB).length;
    const hash = plain.subarray(0, SHA1_BYTES);
    if (!sha1(inner.subarray(0, length)).equals(hash)) throw new Error("The hash of client_DH_inner_data is wrong");
    const authKey = leftPadded(group.computeSecret(gB), KEY_BYTES);
    const proof = sha1(this.#newNonce, Buffer.of(1), sha1(authKey).subarray(0, 8)).subarray(4);
    const salt = this.#newNonce.readBigInt64LE(0) ^ this.#serverNonce.readBigInt64LE(0);
    return { answer: Buffer.concat([id(DH_GEN_OK), this.#nonces(), proof]), agreed: { authKey, salt } };
  }

  #nonces(): Buffer {
    return Buffer.concat([this.#nonce, this.#serverNonce]);
  }

  #check(body: Buffer): void {
    if (!body.subarray(4, 4 + 2 * NONCE_BYTES).equals(this.#nonces()))
      throw new Error("Expected the exchange's nonces");
  }

  /** The key and the IV of the exchange's encrypted parts. */
  #secrets(): { readonly key: Buffer; readonly iv: Buffer } {
    const one = sha1(this.#newNonce, this.#serverNonce);
    const two = sha1(this.#serverNonce, this.#newNonce);
    const three = sha1(this.#newNonce, this.#newNonce);
    return {
      key: Buffer.concat([one, two.subarray(0, 12)]),
      iv: Buffer.concat([two.subarray(12), three, this.#newNonce.subarray(0, 4)]),
    };
  }
}

/** Undoes RSA_PAD: the data that a client has encrypted for the server. */
function decryptInnerData(encrypted: Buffer): Buffer {
  const padding = constants.RSA_NO_PADDING;
  const plain = privateDecrypt({ key: serverKeyPair().privateKey, padding }, leftPadded(encrypted, KEY_BYTES));
  const aesEncrypted = Buffer.from(plain.subarray(TEMP_KEY_BYTES));
  const mask = createHash("sha256").update(aesEncrypted).digest();
  const tempKey = Buffer.from(mask.map((byte, i) => byte ^ (plain[i] ?? 0)));
  const withHash = decryptIge(aesEncrypted, tempKey, Buffer.alloc(2 * BLOCK_BYTES));
  const data = Buffer.from(withHash.subarray(0, PADDED_DATA_BYTES)).reverse();
  const hash = createHash("sha256").update(tempKey).update(data).digest();
  if (!hash.equals(withHash.subarray(PADDED_DATA_BYTES))) throw new Error("The encrypted data's hash is wrong");
  return data;
}

function sha1(...parts: readonly Uint8Array[]): Buffer {
  const hash = createHash("sha1");
  for (const part of parts) hash.update(part);
  return hash.digest();
}

function id(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0, 0);
  return bytes;
}

function bytesOf(value: number): Buffer {
  const hex = value.toString(16);
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, "hex");
}

function leftPadded(bytes: Uint8Array, length: number): Buffer {
  return Buffer.concat([Buffer.alloc(Math.max(0, length - bytes.length)), bytes]);
}

function padToBlocks(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, randomBytes((BLOCK_BYTES - (bytes.length % BLOCK_BYTES)) % BLOCK_BYTES)]);
}
