import { type ClientProfile, isProfile } from "../../client-profile.js";
import { plainError } from "../../connections/plain-error.js";
import { SessionPoolError, StorageError } from "../../errors.js";
import type { SessionRecord } from "../../records/record.js";
import { isSealedText, type Sealer } from "../../records/sealing/sealing.js";
import { Secret } from "../../records/sealing/secret.js";
import type { StorageDeadline } from "../../records/storage-deadline.js";
import { checkSession } from "../../telegram/session-string.js";

/** What stands in the record of a session's credentials. */
export type StoredCredentials = Pick<SessionRecord, "session" | "profile">;

/** Of all sessions that were given none. */
export const NO_PROFILE: ClientProfile = Object.freeze({});

/** What a session connects with: the session string, and nothing else for most. None of it is to be seen. */
export class Credentials extends Secret {
  get profile(): ClientProfile {
    return NO_PROFILE;
  }

  /** What goes into the record. */
  get stored(): StoredCredentials {
    return { session: this.reveal(), profile: this.profile };
  }
}

/** Those with a profile. */
class ProfiledCredentials extends Credentials {
  readonly #profile: ClientProfile;

  constructor(session: string, profile: ClientProfile) {
    super(session);
    this.#profile = profile;
  }

  override get profile(): ClientProfile {
    return this.#profile;
  }
}

/** Those that are sealed in the record. */
class SealedCredentials extends ProfiledCredentials {
  readonly #sealed: string;

  constructor(session: string, profile: ClientProfile, sealed: string) {
    super(session, profile);
    this.#sealed = sealed;
  }

  override get stored(): StoredCredentials {
    return { session: this.#sealed, profile: NO_PROFILE };
  }
}

/**
 * Between credentials and what stands of them in the record. With a sealer both are one sealed text: a profile may hold
 * an api hash and a proxy's password.
 */
export class CredentialSealing {
  readonly #sealer: Sealer | undefined;
  readonly #deadline: StorageDeadline;

  constructor(sealer: Sealer | undefined, deadline: StorageDeadline) {
    this.#sealer = sealer;
    this.#deadline = deadline;
  }

  async seal(id: string, session: string, profile: ClientProfile): Promise<Credentials> {
    if (this.#sealer === undefined) return unsealed(session, profile);
    const text = JSON.stringify({ session, profile });
    try {
      const sealed = await this.#inTime(`seal "${id}"`, this.#sealer.seal(id, text));
      return new SealedCredentials(session, profile, sealed);
    } catch (error) {
      throw notSealed(id, error, [text, session, profile.apiHash, profile.proxy?.password, profile.proxy?.secret]);
    }
  }

  /** Throws an `Error` that can be told when they cannot be read. */
  open(id: string, { session, profile }: StoredCredentials): Credentials | Promise<Credentials> {
    if (this.#sealer === undefined) return plain(session, profile);
    return after(this.#inTime(`open "${id}"`, this.#sealer.open(id, session)), (text) =>
      text === session ? plain(session, profile) : opened(text, session),
    );
  }

  /** A key service may never answer. */
  #inTime(what: string, answer: string | Promise<string>): string | Promise<string> {
    if (!(answer instanceof Promise)) return answer;
    return this.#deadline.within(answer, () => this.#deadline.late(what, "encryption"));
  }

  /** Whether sealing them again would change nothing. */
  isFresh(credentials: Credentials): boolean {
    const isSealed = credentials instanceof SealedCredentials;
    return isSealed && this.#sealer?.isFresh?.(credentials.stored.session) === true;
  }
}

function unsealed(session: string, profile: ClientProfile): Credentials {
  return isEmpty(profile) ? new Credentials(session) : new ProfiledCredentials(session, profile);
}

function plain(session: string, profile: ClientProfile): Credentials {
  checkPlain(session);
  return unsealed(session, profile);
}

function checkPlain(session: string): void {
  if (isSealedText(session)) throw new Error("it is sealed: open the pool with the encryption it was written with");
  checkSession(session);
}

function opened(text: string, sealed: string): Credentials {
  const { session, profile } = parse(text);
  if (typeof session !== "string") throw new Error("what was sealed is no session");
  if (!isProfile(profile)) throw new Error("what was sealed has a damaged profile");
  checkPlain(session);
  return new SealedCredentials(session, profile, sealed);
}

function parse(text: string): { readonly session?: unknown; readonly profile?: unknown } {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    throw new Error("what was sealed is no session");
  }
}

/** The client of a key service may hang what it was to send on its errors. */
function notSealed(id: string, error: unknown, secrets: readonly (string | undefined)[]): SessionPoolError {
  if (error instanceof SessionPoolError) return error;
  const cause = plainError(error, secrets);
  return new StorageError(`Session "${id}" could not be sealed: ${cause.message}`, { cause, sessionId: id });
}

function isEmpty(profile: ClientProfile): boolean {
  for (const _ in profile) return false;
  return true;
}

/** A sealer may answer at once, which spares a turn of the event loop for each of very many sessions. */
function after<T, R>(value: T | Promise<T>, next: (value: T) => R): R | Promise<R> {
  return value instanceof Promise ? value.then(next) : next(value);
}
