import { inspect } from "node:util";
import { isThenable, warn } from "../common/process-warning.js";
import { redactError } from "../common/redact-error.js";
import { SessionPoolError, StorageError } from "../errors.js";
import { isProfile, type ResolvedProfile, secretsOf } from "../options/client-profile.js";
import { describeType } from "../options/validators.js";
import type { SessionRecord } from "../storage/record.js";
import type { StorageTimeout } from "../storage/storage-timeout.js";
import { isTelegramAddress } from "../telegram/data-centers.js";
import { identifySession } from "../telegram/session-string.js";
import { isFresh, isSealedText, KeyMissingError, type Sealer } from "./sealer.js";

const REDACTED = "[redacted]";

/** A text that is never shown: printing, inspecting and serializing it yields `[redacted]`. */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The text itself. */
  reveal(): string {
    return this.#text;
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  static {
    Object.defineProperty(Secret.prototype, inspect.custom, { value: () => REDACTED });
  }
}

/** The credentials of a session as its record holds them. */
export type StoredCredentials = Pick<SessionRecord, "session" | "profile">;

/** The credentials in a record, and the fingerprint of their auth key. */
export type RecordedCredentials = StoredCredentials & { readonly fingerprint?: string | undefined };

/** The profile of sessions without one. */
export const NO_PROFILE: ResolvedProfile = Object.freeze({});

/** The session string and the profile with which a session connects. Never shown in logs or output. */
export class Credentials extends Secret {
  get profile(): ResolvedProfile {
    return NO_PROFILE;
  }

  /** The form for the record. */
  get stored(): StoredCredentials {
    return { session: this.reveal(), profile: this.profile };
  }
}

/** Credentials with a profile. */
class ProfiledCredentials extends Credentials {
  readonly #profile: ResolvedProfile;

  constructor(session: string, profile: ResolvedProfile) {
    super(session);
    this.#profile = profile;
  }

  override get profile(): ResolvedProfile {
    return this.#profile;
  }
}

/** Credentials that are encrypted in the record. */
class SealedCredentials extends ProfiledCredentials {
  readonly #sealed: string;

  constructor(session: string, profile: ResolvedProfile, sealed: string) {
    super(session, profile);
    this.#sealed = sealed;
  }

  override get stored(): StoredCredentials {
    return { session: this.#sealed, profile: NO_PROFILE };
  }
}

/**
 * Translates between credentials and their form in the record. With a sealer, session string and profile are one encrypted
 * text: a profile may hold an api hash and a proxy's password.
 */
export class CredentialEncryption {
  readonly #sealer: Sealer | undefined;
  readonly #deadline: StorageTimeout;
  #hasFailed = false;
  readonly #trustServers: boolean;

  constructor(sealer: Sealer | undefined, deadline: StorageTimeout, trustServers = false) {
    this.#sealer = sealer;
    this.#deadline = deadline;
    this.#trustServers = trustServers;
  }

  async seal(id: string, session: string, profile: ResolvedProfile): Promise<Credentials> {
    if (this.#sealer === undefined) return toCredentials(session, profile);
    const text = JSON.stringify({ session, profile });
    try {
      const sealed: unknown = await this.#inTime(`seal "${id}"`, this.#sealer.seal(id, text));
      if (typeof sealed !== "string" || sealed === "") throw noText("seal", id, sealed);
      return new SealedCredentials(session, profile, sealed);
    } catch (error) {
      const failure = sealError(id, error, [text, session, ...secretsOf(profile)]);
      if (!(error instanceof SessionPoolError)) this.#warn(failure);
      throw failure;
    }
  }

  /**
   * Throws an `Error` without secrets when they cannot be read, when their auth key is not the one that `fingerprint`
   * names, and when they name a server that is not to be trusted: anyone with write access to the storage may have put
   * them there.
   */
  open(id: string, { session, profile, fingerprint }: RecordedCredentials): Credentials | Promise<Credentials> {
    if (this.#sealer === undefined) return this.#plain(session, profile, fingerprint);
    return mapMaybeAsync(this.#ask(id, session, this.#sealer), (text) => {
      if (typeof text !== "string") throw noText("open", id, text);
      return text === session ? this.#plain(session, profile, fingerprint) : this.#opened(text, session, fingerprint);
    });
  }

  #plain(session: string, profile: ResolvedProfile, fingerprint: string | undefined): Credentials {
    this.#check(session, fingerprint);
    return toCredentials(session, profile);
  }

  #opened(text: string, sealed: string, fingerprint: string | undefined): Credentials {
    const { session, profile } = parse(text);
    if (typeof session !== "string") throw new Error("its decrypted text is not a session");
    if (!isProfile(profile)) throw new Error("its decrypted profile is damaged");
    this.#check(session, fingerprint);
    return new SealedCredentials(session, profile, sealed);
  }

  #check(session: string, expected: string | undefined): void {
    if (isSealedText(session))
      throw new KeyMissingError("it is encrypted: open the pool with the encryption that it was written with");
    const { fingerprint, serverAddress } = identifySession(session);
    if (expected !== undefined && fingerprint !== expected) {
      throw new Error("its auth key is not the one that its fingerprint names");
    }
    if (this.#trustServers || isTelegramAddress(serverAddress)) return;
    throw new Error(
      "it names a server outside Telegram's published ranges; if that is yours (a test server), open the pool with trustServers: true",
    );
  }

  #ask(id: string, session: string, sealer: Sealer): unknown {
    try {
      const answer = this.#inTime(`open "${id}"`, sealer.open(id, session));
      return answer instanceof Promise ? answer.catch((error: unknown) => this.#refuse(error)) : answer;
    } catch (error) {
      return this.#refuse(error);
    }
  }

  /** A refusal by `aesGcm` is expected; a custom sealer may be broken. Throws an error without secrets. */
  #refuse(error: unknown): never {
    if (error instanceof SessionPoolError) throw error;
    const plain = redactError(error, []);
    this.#warn(plain);
    throw plain;
  }

  #warn({ message }: Error): void {
    if (!this.#hasFailed) warn(`The encryption failed; further failures of it are not reported: ${message}`);
    this.#hasFailed = true;
  }

  /** Bounds the sealer, as a key service may never answer. */
  #inTime(what: string, answer: unknown): unknown {
    if (!isThenable(answer)) return answer;
    return this.#deadline.within(Promise.resolve(answer), () => this.#deadline.late(what, "encryption"));
  }

  /** Returns whether the credentials are encrypted with the current key. */
  isCurrent(credentials: Credentials): boolean {
    const isSealed = credentials instanceof SealedCredentials;
    return isSealed && this.#sealer !== undefined && isFresh(this.#sealer, credentials.stored.session);
  }
}

/** A custom sealer may return anything, a secret included: the message names the type alone. */
function noText(method: "seal" | "open", id: string, value: unknown): StorageError {
  const isShowable = typeof value === "object" || value === undefined || value === "";
  const got = isShowable ? describeType(value) : `a ${typeof value}`;
  return new StorageError(
    `The encryption's ${method}() must return a non-empty text for "${id}"; it returned ${got}.`,
    {
      sessionId: id,
    },
  );
}

function toCredentials(session: string, profile: ResolvedProfile): Credentials {
  return isEmpty(profile) ? new Credentials(session) : new ProfiledCredentials(session, profile);
}

function parse(text: string): { readonly session?: unknown; readonly profile?: unknown } {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    throw new Error("its decrypted text is not a session");
  }
}

/** The client of a key service may attach the text to its errors. */
function sealError(id: string, error: unknown, secrets: readonly (string | undefined)[]): SessionPoolError {
  if (error instanceof SessionPoolError) return error;
  const cause = redactError(error, secrets);
  return new StorageError(`Session "${id}" could not be sealed: ${cause.message}`, { cause, sessionId: id });
}

function isEmpty(profile: ResolvedProfile): boolean {
  for (const _ in profile) return false;
  return true;
}

/** A sealer may answer synchronously, which saves a turn of the event loop per session. */
function mapMaybeAsync<R>(value: unknown, next: (value: unknown) => R): R | Promise<R> {
  return value instanceof Promise ? value.then(next) : next(value);
}
