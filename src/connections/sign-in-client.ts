import type { Clock } from "../common/clock.js";
import type { ResolvedProfile } from "../options/client-profile.js";
import type { SessionData } from "../telegram/session-string.js";

/** Arguments for creating a client that is not signed in. */
export interface SignInOptions {
  readonly profile: ResolvedProfile;
  readonly clock: Clock;
  /** Milliseconds for one connect, a key exchange included. */
  readonly connectTimeoutMs: number;
  /** Milliseconds for the answer to one request. */
  readonly callTimeoutMs: number;
  /** The data center to begin with. @default the library's own choice, or that of a private server */
  readonly address?: Pick<SessionData, "dcId" | "serverAddress" | "port"> | undefined;
  /** To be called for each `updateLoginToken`: the login token was accepted. */
  readonly onLoginToken: () => void;
}

/** An object of Telegram's type language: `className` is its full name, its fields are in camel case. */
export interface TelegramObject {
  readonly className: string;
  readonly [field: string]: unknown;
}

/**
 * A client that is not signed in and creates its own auth keys. MUST hide its secrets from `inspect`
 * and JSON, as the client of a lease does.
 */
export interface SignInClient {
  /** The data center of the last connect. */
  readonly dcId: number;
  /**
   * Connects to a data center (by default the previous one) with the auth key it has there, or with a new one. Closes
   * the previous connection. Rejects with the cause, or the signal's reason, and MUST have closed what it opened by then.
   */
  connect(signal: AbortSignal, dcId?: number): Promise<void>;
  /**
   * Sends one request: the full name of its method (`"auth.SendCode"`), and its fields in camel case, in which objects
   * are a {@link TelegramObject} and 64 bit numbers bigints. Connects again when the connection was lost, and never sends
   * twice. Rejects with Telegram's error as the library has it, or with the cause.
   */
  call(method: string, fields?: Readonly<Record<string, unknown>>): Promise<TelegramObject>;
  /** The application's id and hash, which some requests name. */
  application(): { readonly apiId: number; readonly apiHash: string };
  /** The auth key of the last connect, and where it is good for. */
  session(): SessionData;
  /**
   * Ends the connection and keeps its auth key: the next `call` connects with it again. Resolves when the connection is
   * closed. Without it `duplicate` calls `close` before the pool may connect the new session, and cannot sign its key out
   * when the session is not added.
   */
  disconnect?(): Promise<void>;
  /** Ends the connection and settles every call; MUST be safe during `connect` and when called twice. */
  close(): Promise<void>;
}
