import type { Clock } from "../common/clock.js";
import type { ResolvedProfile } from "../options/client-profile.js";
import type { ProxyProfile } from "../options/proxy.js";
import type { KnownPeer } from "../telegram/peer-cache.js";
import type { PeerReference } from "../telegram/peers.js";
import type { OutgoingRequest } from "../telegram/requests.js";
import type { SessionData } from "../telegram/session-string.js";
import type { LeaseScope } from "./lease-scope.js";
import type { SignInClient, SignInOptions } from "./sign-in-client.js";

export type { OutgoingRequest } from "../telegram/requests.js";

/** A request that was sent. */
export interface InFlightRequest {
  /**
   * Settles with Telegram's answer, or rejects with {@link ConnectionLostError}, {@link HeldBackError} or
   * {@link UnreadableAnswerError}.
   */
  readonly answer: Promise<unknown>;
  /** Abandons the request: a late answer is dropped, and it MUST NOT be sent again. */
  abandon(): void;
}

/** The wait for which a request is refused: the seconds left, and whether a peer's slow mode is the reason. */
export interface FloodWait {
  readonly seconds: number;
  readonly isSlowMode: boolean;
}

/**
 * Checks every API request before it is sent, wherever the library sends it from. Implemented by the pool, called by client
 * adapters.
 */
export interface RequestGate {
  /**
   * Runs one request: refuses it while its session, method or peer is cooling, sends ordered ones one by one, sends it by
   * `transmit` (again only where that is harmless), and settles with the answer, at a deadline, or when the lease ends.
   */
  call(request: OutgoingRequest, scope: LeaseScope | undefined, transmit: () => InFlightRequest): Promise<unknown>;
  /** Returns whether the request must not be sent. MUST be checked again right before the bytes are written. */
  isBlocked(request: OutgoingRequest): boolean;
}

/** Rejects a transmission whose connection was lost. */
export class ConnectionLostError extends Error {
  override readonly name = "ConnectionLostError";
  /** Whether it may have reached Telegram. */
  readonly wasSent: boolean;

  constructor(message: string, wasSent: boolean) {
    super(message);
    this.wasSent = wasSent;
  }
}

/** Rejects a transmission that the gate held back before it was written: it was not sent. */
export class HeldBackError extends Error {
  override readonly name = "HeldBackError";
}

/** Rejects a transmission whose answer came and could not be read: a request that changes something may have done so. */
export class UnreadableAnswerError extends Error {
  override readonly name = "UnreadableAnswerError";
}

/**
 * The peers that a session knew before this client, and where the client saves those it learns. Implemented by the pool,
 * called by client adapters.
 */
export interface PeerStore {
  /** How many peers to keep in memory. */
  readonly limit: number;
  /**
   * The known peers, the most recently learned last. To be called once, before the client is used. Never rejects
   * and ends in time: with an empty list when the storage does not answer.
   */
  load(): Promise<readonly KnownPeer[]>;
  /** Saves a peer that is new or has changed; SHOULD NOT be called for an unchanged one. Costs no I/O. */
  save(peer: KnownPeer): void;
}

/** Arguments for `ClientAdapter.create`. */
export interface CreateClientOptions {
  readonly id: string;
  readonly session: SessionData;
  readonly profile: ResolvedProfile;
  readonly gate: RequestGate;
  readonly clock: Clock;
  readonly peers: PeerStore;
  /** Timeout in milliseconds of the connections that the client opens to other data centers. */
  readonly connectTimeoutMs: number;
  /**
   * MUST be called at once when a connection is lost that `connect` has opened or opens, with a reason without secrets: until
   * then the client is leased, and it is not connected again.
   */
  readonly onDisconnect: (reason: string) => void;
  /** MAY be called whenever an answer or an update contains the account's own user. Costs nothing if it is known. */
  readonly onOwnUser?: (user: { readonly accountId: string; readonly isBot: boolean }) => void;
}

/** One client of one session, connected or not. */
export interface ClientHandle<Client> {
  /**
   * Connects once, without retries. Rejects with the cause, or when `signal` aborts, and MUST have closed what it
   * opened by then. When it has resolved the client counts as connected, until `onDisconnect` is called. MUST be callable
   * again after it failed or the connection was lost; never called twice at once.
   */
  connect(signal: AbortSignal): Promise<void>;
  /**
   * Called after each connect, for what is to be done before the client is leased: it may send requests. What it rejects with
   * fails the connect.
   */
  prepare?(): Promise<void>;
  /**
   * The client for use under one lease: see `guard`. The client itself MUST hide its secrets from `inspect` and JSON,
   * which see through a Proxy.
   */
  guard(scope: LeaseScope): Client;
  /** The library's own error for a request that was not sent because of a cooldown. */
  floodError(notice: FloodWait, request: OutgoingRequest): Error;
  /**
   * Asks Telegram, through the gate, for something that only an account in order is answered (`updates.getState`). Rejects
   * with Telegram's error. Without it `probeIntervalMs` has no effect.
   */
  probe?(): Promise<void>;
  /**
   * Whether the client has the peer in its cache, so that a request can name it without asking Telegram for it; `undefined`
   * before its peers are loaded. Without this method what the storage holds, and what was saved since, counts for `knows`.
   */
  knows?(peer: PeerReference): boolean | undefined;
  /** Ends every connection and settles every call; MUST be safe during `connect` and when called twice. */
  close(): Promise<void>;
}

/** Connects the pool to one Telegram library. */
export interface ClientAdapter<Client> {
  /** Imports the library. Called by `SessionPool.open`; throws `OptionsError` with the fix when it is not installed. */
  open(): Promise<void>;
  /**
   * The proxy of the adapter's own options, if they name one: that of sessions whose profile names none. Error messages give
   * its address, and the sessions behind it back off together.
   */
  readonly proxy?: ProxyProfile | undefined;
  /**
   * Throws `OptionsError` for a profile that its clients cannot have, such as a proxy of a kind that the library does not
   * know. `call` begins the message, which MUST NOT hold a credential. Called after `open`, before a profile is stored.
   */
  checkProfile?(call: string, profile: ResolvedProfile): void;
  /** Creates a client without touching the network. */
  create(request: CreateClientOptions): ClientHandle<Client>;
  /**
   * The raw request that asks Telegram for the account's own user (`users.getUsers` with `inputUserSelf`). The pool sends it
   * after the first connect of a session whose account is not known. Without it `check` cannot ask anything, and accounts
   * are known only where the session string, an import or `onOwnUser` says so.
   */
  ownUserRequest?(): unknown;
  /** Sends one raw request. */
  invoke(client: Client, request: unknown): Promise<unknown>;
  /**
   * Makes a client that is not signed in, without touching the network. Without it `login` and `duplicate`
   * cannot be used.
   */
  createSignIn?(options: SignInOptions): SignInClient;
  /**
   * Makes a raw request for `invoke`, from what `SignInClient.call` takes. `duplicate` needs it. Without it the pool does
   * not know of freezes nor when a session ends, and `probeIntervalMs` does not free frozen sessions.
   */
  createRequest?(method: string, fields: Readonly<Record<string, unknown>>): unknown;
}
