import type { ClientProfile } from "../client-profile.js";
import type { SessionRecord } from "../records/record.js";
import { isSealedText, type Sealer } from "../records/sealing.js";
import { Secret } from "../records/secret.js";
import { checkSession } from "../telegram/session-string.js";

/** What a session connects with. */
export interface Credentials {
  readonly secret: Secret;
  readonly profile: ClientProfile;
  /** The two as they stand in the record, if they are sealed there. */
  readonly sealed: Secret | undefined;
}

/** What stands in the record of a session's credentials. */
export type StoredCredentials = Pick<SessionRecord, "session" | "profile">;

/** Of all sessions that were given none. */
export const NO_PROFILE: ClientProfile = Object.freeze({});

/**
 * Between credentials and what stands of them in the record. With a sealer both are one sealed text: a profile may hold
 * an api hash and a proxy's password.
 */
export class CredentialSealing {
  readonly #sealer: Sealer | undefined;

  constructor(sealer: Sealer | undefined) {
    this.#sealer = sealer;
  }

  seal(id: string, secret: Secret, profile: ClientProfile): Credentials | Promise<Credentials> {
    if (this.#sealer === undefined) return { secret, profile, sealed: undefined };
    const text = JSON.stringify({ session: secret.reveal(), profile });
    return after(this.#sealer.seal(id, text), (sealed) => ({ secret, profile, sealed: new Secret(sealed) }));
  }

  /** Throws an `Error` that can be told when they cannot be read. */
  open(id: string, { session, profile }: StoredCredentials): Credentials | Promise<Credentials> {
    if (this.#sealer === undefined) return plain(session, profile);
    return after(this.#sealer.open(id, session), (text) =>
      text === session ? plain(session, profile) : unsealed(text, session),
    );
  }

  /** Whether sealing them again would change nothing. */
  isFresh({ sealed }: Credentials): boolean {
    return sealed !== undefined && this.#sealer?.isFresh?.(sealed.reveal()) === true;
  }
}

/** What goes into the record. */
export function storedOf({ secret, profile, sealed }: Credentials): StoredCredentials {
  return sealed === undefined
    ? { session: secret.reveal(), profile }
    : { session: sealed.reveal(), profile: NO_PROFILE };
}

function plain(session: string, profile: ClientProfile): Credentials {
  if (isSealedText(session)) throw new Error("it is sealed: open the pool with the encryption it was written with");
  checkSession(session);
  return { secret: new Secret(session), profile: isEmpty(profile) ? NO_PROFILE : profile, sealed: undefined };
}

function unsealed(text: string, sealed: string): Credentials {
  const { session, profile } = parse(text);
  if (typeof session !== "string" || typeof profile !== "object" || profile === null) {
    throw new Error("what was sealed is no session");
  }
  return { ...plain(session, profile), sealed: new Secret(sealed) };
}

function parse(text: string): { readonly session?: unknown; readonly profile?: unknown } {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    throw new Error("what was sealed is no session");
  }
}

function isEmpty(profile: ClientProfile): boolean {
  for (const _ in profile) return false;
  return true;
}

/** A sealer may answer at once, which spares a turn of the event loop for each of very many sessions. */
function after<T, R>(value: T | Promise<T>, next: (value: T) => R): R | Promise<R> {
  return value instanceof Promise ? value.then(next) : next(value);
}
