import { createHash } from "node:crypto";
import { inspect } from "node:util";
import { InvalidSessionError } from "../errors.js";

/** The formats of session strings that can be read and written, by library; teleproto uses the format of GramJS. */
export type SessionFormat = "gramjs" | "telethon" | "pyrogram" | "mtcute";

/** A data center in a session string of mtcute. */
export interface DataCenterAddress {
  readonly dcId: number;
  readonly serverAddress: string;
  readonly port: number;
  readonly isMediaOnly: boolean;
}

/** The contents of a session string. Any object of this shape can be formatted; {@link createSessionData} hides the key. */
export interface SessionData {
  /** The number of the data center of the account: 1 to 255. */
  readonly dcId: number;
  /** An IPv4 or IPv6 address or, in strings of GramJS only, a host name. */
  readonly serverAddress: string;
  /** 1 to 65535. GramJS ignores it, and reads one above 32767 as negative, as its strings contain a signed 16-bit number. */
  readonly port: number;
  /** The 256 bytes of the auth key, as secret as the string. A copy. */
  readonly authKey: Uint8Array;
  /** The format it was read from. */
  readonly format: SessionFormat;
  /** Whether the session belongs to Telegram's test servers; determined by the address where the format does not say. */
  readonly isTest: boolean;
  /** The account's id (pyrogram, mtcute). */
  readonly userId?: number | undefined;
  /** Whether the account is a bot (pyrogram, mtcute). */
  readonly isBot?: boolean | undefined;
  /** The application's id (pyrogram, the 362 characters form). */
  readonly apiId?: number | undefined;
  /** Whether the session was read from Pyrogram's oldest form, of 351 characters, with 32 bits for the user id. */
  readonly isShortUserId?: boolean | undefined;
  /** The data center for media, if it is a different one (mtcute). */
  readonly media?: DataCenterAddress | undefined;
}

export const AUTH_KEY_BYTES = 256;

/** Validates session data and returns it as an object whose key is not in `inspect` output, JSON or copies by spreading. */
export function createSessionData(fields: SessionData): SessionData {
  checkSessionData(fields);
  return Object.freeze(new ParsedSession(fields));
}

/** Throws `InvalidSessionError` for impossible session data. */
export function checkSessionData(fields: SessionData): void {
  checkKey(fields.authKey);
  checkServer(fields);
  if (fields.media !== undefined) checkServer(fields.media ?? {});
  checkNumber(fields.userId, Number.MAX_SAFE_INTEGER);
  checkNumber(fields.apiId, 2 ** 32 - 1);
}

class ParsedSession implements SessionData {
  readonly dcId: number;
  readonly serverAddress: string;
  readonly port: number;
  readonly format: SessionFormat;
  readonly isTest: boolean;
  readonly userId?: number;
  readonly isBot?: boolean;
  readonly apiId?: number;
  readonly isShortUserId?: boolean;
  readonly media?: DataCenterAddress;
  readonly #authKey: Uint8Array;

  constructor(fields: SessionData) {
    this.dcId = fields.dcId;
    this.serverAddress = fields.serverAddress;
    this.port = fields.port;
    this.format = fields.format;
    this.isTest = fields.isTest;
    if (fields.userId !== undefined) this.userId = fields.userId;
    if (fields.isBot !== undefined) this.isBot = fields.isBot;
    if (fields.apiId !== undefined) this.apiId = fields.apiId;
    if (fields.isShortUserId === true) this.isShortUserId = true;
    if (fields.media !== undefined) this.media = Object.freeze({ ...fields.media });
    this.#authKey = new Uint8Array(fields.authKey);
  }

  get authKey(): Uint8Array {
    return Uint8Array.from(this.#authKey);
  }

  [inspect.custom](): object {
    return { ...this };
  }
}

/**
 * Identifies an authorization across all formats without revealing it: the last 8 bytes of the SHA-1 of the auth key, in
 * hexadecimal. MTProto's own `auth_key_id` (core.telegram.org/mtproto/description#key-identifier).
 */
export function authKeyFingerprint(authKey: Uint8Array): string {
  return createHash("sha1").update(authKey).digest("hex").slice(-16);
}

function checkKey(authKey: Uint8Array): void {
  if (!(authKey instanceof Uint8Array) || authKey.length !== AUTH_KEY_BYTES) {
    throw new InvalidSessionError(
      `The session's auth key is not ${AUTH_KEY_BYTES} bytes long. Make a new session by logging in.`,
    );
  }
  if (authKey.every((byte) => byte === 0)) {
    throw new InvalidSessionError(
      "The session's auth key is all zeros: the session was saved before it was logged in. Make a new session by logging in.",
    );
  }
}

function checkNumber(value: number | undefined, largest: number): void {
  if (value === undefined || (Number.isSafeInteger(value) && value >= 0 && value <= largest)) return;
  throw new InvalidSessionError("The session's user id or api id is not a valid integer. Export the session again.");
}

/** IP addresses and host names. GramJS would read longer ones as an IPv6 address of Telethon. */
const SERVER_NAME = /^[A-Za-z0-9.:-]{1,100}$/;

function checkServer(server: Partial<Record<"dcId" | "serverAddress" | "port", unknown>>): void {
  const isWhole = (value: unknown, largest: number) =>
    typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= largest;
  const isNamed = typeof server.serverAddress === "string" && SERVER_NAME.test(server.serverAddress);
  if (!isWhole(server.dcId, 255) || !isWhole(server.port, 65_535) || !isNamed) {
    throw new InvalidSessionError(
      "The session names an impossible data center: the text is damaged or not a session string. Export it again.",
    );
  }
}
