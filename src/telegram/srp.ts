import { checkPrime, createHash, pbkdf2, randomBytes, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";

/**
 * Proves knowledge of the password of an account, without sending it: SRP as Telegram uses it.
 *
 * Source: https://core.telegram.org/api/srp
 */

/** Parameters for hashing a password. */
export interface PasswordAlgorithm {
  readonly salt1: Uint8Array;
  readonly salt2: Uint8Array;
  readonly g: number;
  /** The prime, 256 bytes. */
  readonly p: Uint8Array;
}

/** A client's answer to a challenge. */
export interface PasswordProof {
  readonly A: Buffer;
  readonly M1: Buffer;
}

const NUMBER_BYTES = 256;
const ITERATIONS = 100_000;
const HASH_BYTES = 64;

/** The 2048 bit safe prime that Telegram uses; other than 2 and 6 it goes with every g from 2 to 7. */
export const TELEGRAM_PRIME: Buffer = Buffer.from(
  "c71caeb9c6b1c9048e6c522f70f13f73980d40238e3e21c14934d037563d930f" +
    "48198a0aa7c14058229493d22530f4dbfa336f6e0ac925139543aed44cce7c37" +
    "20fd51f69458705ac68cd4fe6b6b13abdc9746512969328454f18faf8c595f64" +
    "2477fe96bb2a941d5bcd1d4ac8cc49880708fa9b378e3c4f3a9060bee67cf9a4" +
    "a4a695811051907e162753b56b0f6b410dba74d8a84b2a14b3144e0ef1284754" +
    "fd17ed950d5965b4b9dd46582db1178d169c6bc465b0d6ff9ca3928fef5b9ae4" +
    "e418fc15e83ebea0f87fa9ff5eed70050ded2849f47bf959d956850ce929851f" +
    "0d8115f635b105ee2e4e15d04b2454bf6f4fadf034b10403119cd8e3b92fcc5b",
  "hex",
);

const derive = promisify(pbkdf2);
const isPrime = promisify(checkPrime) as (candidate: bigint) => Promise<boolean>;

/** By which a prime of 2048 bits may be divided with which remainder, so that a g generates what it has to. */
const GENERATORS: Readonly<Record<number, readonly [divisor: bigint, remainders: readonly bigint[]]>> = {
  2: [8n, [7n]],
  3: [3n, [2n]],
  4: [1n, [0n]],
  5: [5n, [1n, 4n]],
  6: [24n, [19n, 23n]],
  7: [7n, [3n, 5n, 6n]],
};

/** Whether p is a safe prime, and g fits: with others a server could learn the password from the proof. */
export async function isSafeGroup({ g, p }: Pick<PasswordAlgorithm, "g" | "p">): Promise<boolean> {
  const prime = numberOf(p);
  const [divisor, remainders] = GENERATORS[g] ?? [1n, []];
  if (p.length !== NUMBER_BYTES || (p[0] ?? 0) < 0x80 || !remainders.includes(prime % divisor)) return false;
  if (TELEGRAM_PRIME.equals(p)) return true;
  return (await isPrime(prime)) && (await isPrime((prime - 1n) / 2n));
}

/** The number a password stands for: x. */
async function secretOf(password: string, { salt1, salt2 }: PasswordAlgorithm): Promise<bigint> {
  const first = salted(salted(Buffer.from(password, "utf8"), salt1), salt2);
  const second = await derive(first, salt1, ITERATIONS, HASH_BYTES, "sha512");
  return numberOf(salted(second, salt2));
}

/** The verifier that a server stores instead of the password: v = g^x mod p. */
export async function passwordVerifier(password: string, algorithm: PasswordAlgorithm): Promise<bigint> {
  return power(BigInt(algorithm.g), await secretOf(password, algorithm), numberOf(algorithm.p));
}

/** The server's half of the exchange, for one attempt. */
export class PasswordChallenge {
  /** The value sent to the client: g_b. */
  readonly B: Buffer;
  readonly #algorithm: PasswordAlgorithm;
  readonly #verifier: bigint;
  readonly #secret: bigint;

  constructor(algorithm: PasswordAlgorithm, verifier: bigint) {
    const p = numberOf(algorithm.p);
    this.#algorithm = algorithm;
    this.#verifier = verifier;
    this.#secret = numberOf(randomBytes(NUMBER_BYTES));
    const k = multiplierOf(algorithm);
    this.B = padded((k * verifier + power(BigInt(algorithm.g), this.#secret, p)) % p);
  }

  /** Whether the proof is of the right password. */
  accepts({ A, M1 }: { readonly A: Uint8Array; readonly M1: Uint8Array }): boolean {
    const p = numberOf(this.#algorithm.p);
    const a = numberOf(A);
    if (a <= 0n || a >= p) return false;
    const u = numberOf(sha256(padded(a), this.B));
    const shared = power((a * power(this.#verifier, u, p)) % p, this.#secret, p);
    const expected = proofOf(this.#algorithm, padded(a), this.B, shared);
    return M1.length === expected.length && timingSafeEqual(M1, expected);
  }
}

/**
 * The client's half: what to answer the server's `B` with. Throws a `RangeError` for a `B` that no honest server
 * sends.
 */
export async function provePassword(
  password: string,
  algorithm: PasswordAlgorithm,
  serverB: Uint8Array,
): Promise<PasswordProof> {
  const p = numberOf(algorithm.p);
  const g = BigInt(algorithm.g);
  const b = numberOf(serverB);
  if (b <= 0n || b >= p) throw new RangeError("The server's half of the password exchange is out of range.");
  const x = await secretOf(password, algorithm);
  const a = numberOf(randomBytes(NUMBER_BYTES));
  const A = padded(power(g, a, p));
  const u = numberOf(sha256(A, padded(b)));
  if (u === 0n) throw new RangeError("The server's half of the password exchange is out of range.");
  const base = (((b - multiplierOf(algorithm) * power(g, x, p)) % p) + p) % p;
  const shared = power(base, a + u * x, p);
  return { A, M1: proofOf(algorithm, A, padded(b), shared) };
}

/** M1: a hash over everything that both sides know, the shared secret last. */
function proofOf({ salt1, salt2, g, p }: PasswordAlgorithm, A: Buffer, B: Buffer, shared: bigint): Buffer {
  const hashOfPrime = sha256(padded(numberOf(p)));
  const hashOfBase = sha256(padded(BigInt(g)));
  const mixed = Buffer.from(hashOfPrime.map((byte, i) => byte ^ (hashOfBase[i] ?? 0)));
  return sha256(mixed, sha256(salt1), sha256(salt2), A, B, sha256(padded(shared)));
}

function multiplierOf({ g, p }: PasswordAlgorithm): bigint {
  return numberOf(sha256(padded(numberOf(p)), padded(BigInt(g))));
}

function salted(data: Uint8Array, salt: Uint8Array): Buffer {
  return sha256(salt, data, salt);
}

function sha256(...parts: readonly Uint8Array[]): Buffer {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
}

function numberOf(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString("hex") || "0"}`);
}

function padded(number: bigint): Buffer {
  return Buffer.from(number.toString(16).padStart(NUMBER_BYTES * 2, "0"), "hex");
}

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  let square = base % modulus;
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if ((rest & 1n) === 1n) result = (result * square) % modulus;
    square = (square * square) % modulus;
  }
  return result;
}
