import { randomBytes, randomInt } from "node:crypto";
import { type PasswordAlgorithm, PasswordChallenge, passwordVerifier, TELEGRAM_PRIME } from "../../telegram/srp.js";
import { type Account, type Accounts, digitsOf } from "./accounts.js";
import type { Authorization } from "./authorization.js";
import { RpcError } from "./call.js";

/** A login code that was sent. */
export interface SentCodeRecord {
  /** Digits only. */
  readonly phone: string;
  readonly code: string;
  /** How it was sent: in Telegram itself, by SMS, or by a call. */
  readonly via: CodeDelivery;
  /** Epoch milliseconds. */
  readonly at: number;
}

/** How a code is sent, in the order of another try. */
export type CodeDelivery = "app" | "sms" | "call";

/** A code that can be signed in with. */
export interface PendingCode extends SentCodeRecord {
  readonly hash: string;
  isExpired: boolean;
}

interface LoginToken {
  readonly bytes: Buffer;
  readonly authorization: Authorization;
  readonly expiresAt: number;
  acceptedBy: Account | undefined;
}

interface PasswordAttempt {
  readonly id: bigint;
  readonly challenge: PasswordChallenge;
}

/** How the codes of a phone number go out, one after the other. */
export const DELIVERIES: readonly CodeDelivery[] = ["app", "sms", "call"];
const CODE_DIGITS = 5;
const TOKEN_BYTES = 32;
const SALT_BYTES = 16;
const G = 3;
const CODES_KEPT = 1_000;
const BAD_REQUEST = 400;

/** Codes, login tokens and passwords under way. */
export class SignIns {
  readonly #accounts: Accounts;
  readonly #tokenMs: number;
  /** By phone number: the last one that was sent. */
  readonly #codes = new Map<string, PendingCode>();
  readonly #sent: SentCodeRecord[] = [];
  readonly #tokens = new Map<string, LoginToken>();
  readonly #algorithms = new Map<Account, PasswordAlgorithm>();
  readonly #verifiers = new Map<Account, Promise<bigint>>();
  readonly #attempts = new WeakMap<Authorization, PasswordAttempt>();

  /** @param tokenMs how long a login token can be accepted. */
  constructor(accounts: Accounts, tokenMs: number) {
    this.#accounts = accounts;
    this.#tokenMs = tokenMs;
  }

  /** Sends a code: a new one takes the place of the former. */
  sendCode(phone: string, via: CodeDelivery): PendingCode {
    const code = this.#accounts.ofPhone(phone)?.code ?? randomDigits(CODE_DIGITS);
    const hash = randomBytes(9).toString("hex");
    const pending = { phone: digitsOf(phone), code, via, at: Date.now(), hash, isExpired: false };
    this.#codes.set(pending.phone, pending);
    this.#sent.push({ phone: pending.phone, code, via, at: pending.at });
    if (this.#sent.length > CODES_KEPT) this.#sent.shift();
    return pending;
  }

  /** The code that was sent under that hash. Throws PHONE_CODE_EXPIRED when there is a newer one, or none. */
  pendingCode(phone: string, hash: string): PendingCode {
    const pending = this.#codes.get(digitsOf(phone));
    if (pending === undefined || pending.hash !== hash || pending.isExpired) {
      throw new RpcError(BAD_REQUEST, "PHONE_CODE_EXPIRED");
    }
    return pending;
  }

  /** Takes a code back. */
  cancelCode(phone: string): void {
    this.#codes.delete(digitsOf(phone));
  }

  /** The codes that were sent, the oldest first. */
  sentCodes(phone?: string): readonly SentCodeRecord[] {
    const digits = phone === undefined ? undefined : digitsOf(phone);
    return this.#sent.filter((sent) => digits === undefined || sent.phone === digits);
  }

  /** Expires the codes that were sent and not used. */
  expireCodes(): void {
    for (const pending of this.#codes.values()) pending.isExpired = true;
  }

  /** A new token for a client, and when it expires. */
  exportToken(authorization: Authorization): { readonly bytes: Buffer; readonly expiresAt: number } {
    const token = {
      bytes: randomBytes(TOKEN_BYTES),
      authorization,
      expiresAt: Date.now() + this.#tokenMs,
      acceptedBy: undefined,
    };
    this.#tokens.set(token.bytes.toString("hex"), token);
    return token;
  }

  /** Who has accepted a token of that client. */
  acceptedBy(authorization: Authorization): LoginToken | undefined {
    return [...this.#tokens.values()].find(
      (token) => token.authorization === authorization && token.acceptedBy !== undefined,
    );
  }

  /** An accepted token, as a client shows it in the data center it was sent to. Throws AUTH_TOKEN_INVALID. */
  importToken(bytes: Uint8Array): Account {
    const token = this.#tokens.get(Buffer.from(bytes).toString("hex"));
    if (token?.acceptedBy === undefined) throw new RpcError(BAD_REQUEST, "AUTH_TOKEN_INVALID");
    this.#tokens.delete(token.bytes.toString("hex"));
    return token.acceptedBy;
  }

  /** Accepts a token for an account; returns whose client it is. Throws AUTH_TOKEN_… as Telegram does. */
  acceptToken(bytes: Uint8Array, account: Account): Authorization {
    const token = this.#tokens.get(Buffer.from(bytes).toString("hex"));
    if (token === undefined) throw new RpcError(BAD_REQUEST, "AUTH_TOKEN_INVALID");
    if (token.acceptedBy !== undefined) throw new RpcError(BAD_REQUEST, "AUTH_TOKEN_ALREADY_ACCEPTED");
    if (token.expiresAt <= Date.now()) throw new RpcError(BAD_REQUEST, "AUTH_TOKEN_EXPIRED");
    token.acceptedBy = account;
    return token.authorization;
  }

  /** Forgets the tokens of a client. */
  forgetTokens(authorization: Authorization): void {
    for (const [key, token] of this.#tokens) if (token.authorization === authorization) this.#tokens.delete(key);
  }

  /** What an account's password is hashed with. */
  algorithmOf(account: Account): PasswordAlgorithm {
    const known = this.#algorithms.get(account);
    if (known !== undefined) return known;
    const algorithm = { salt1: randomBytes(SALT_BYTES), salt2: randomBytes(SALT_BYTES), g: G, p: TELEGRAM_PRIME };
    this.#algorithms.set(account, algorithm);
    return algorithm;
  }

  /** Begins an attempt at an account's password; the former one of this client is over. */
  async beginPassword(authorization: Authorization, account: Account, password: string): Promise<PasswordAttempt> {
    const algorithm = this.algorithmOf(account);
    const verifier = this.#verifiers.get(account) ?? passwordVerifier(password, algorithm);
    this.#verifiers.set(account, verifier);
    const challenge = new PasswordChallenge(algorithm, await verifier);
    const attempt = { id: randomBytes(8).readBigInt64LE(0), challenge };
    this.#attempts.set(authorization, attempt);
    return attempt;
  }

  /** Ends an attempt. Throws SRP_ID_INVALID when it is not the last one, PASSWORD_HASH_INVALID for a wrong password. */
  checkPassword(authorization: Authorization, id: bigint, A: Uint8Array, M1: Uint8Array): void {
    const attempt = this.#attempts.get(authorization);
    this.#attempts.delete(authorization);
    if (attempt?.id !== id) throw new RpcError(BAD_REQUEST, "SRP_ID_INVALID");
    if (!attempt.challenge.accepts({ A, M1 })) throw new RpcError(BAD_REQUEST, "PASSWORD_HASH_INVALID");
  }
}

function randomDigits(count: number): string {
  return String(randomInt(10 ** count)).padStart(count, "0");
}
