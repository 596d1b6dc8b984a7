import type { PeerReference } from "../../../src/telegram/peers.js";
import type { TelegramRequest } from "../../../src/telegram/requests.js";

/**
 * GramJS or its fork teleproto, as far as the clients of a pool are built on it. All of it is internal, and no version promises it: `load-library.ts` checks it when a pool opens.
 */
export interface Library {
  readonly TelegramClient: LibraryClientClass;
  readonly Api: TlApi;
  readonly layer: number;
  readonly StringSession: new (text: string) => object;
  readonly Logger: new (level: string) => object;
  readonly PromisedNetSockets: SocketClass;
  readonly RequestState: new (request: TlRequest) => RequestState;
  readonly BinaryReader: new (data: Buffer) => TlReader;
  readonly GZIPPacked: { gzipIfSmaller(isContent: boolean, data: Buffer): Promise<Buffer> | Buffer };
  readonly TLMessage: new (messageId: unknown, sequence: number, object: unknown) => object;
  readonly RPCResult: { readonly CONSTRUCTOR_ID: number };
  readonly IGE: new (key: Buffer, iv: Buffer) => { encryptIge(data: Buffer): Buffer; decryptIge(data: Buffer): Buffer };
  readonly MTProtoSender: {
    new (authKey: unknown, options: SenderOptions): SenderBase;
    readonly prototype: SenderBase;
  };
  readonly errors: LibraryErrors;
  readonly utils: TlUtils;
  readonly helpers: TlHelpers;
  readonly handleUpdate: (client: never, update: never) => void;
  readonly differences: LibraryDriver;
  /** The RSA keys that its key exchange trusts, by fingerprint: one table for all clients of the process. */
  readonly serverKeys: () => Promise<Map<string, { readonly n: Long; readonly e: number }>>;
}

/** Where the libraries differ. */
export interface LibraryDriver {
  /** Its name in messages. */
  readonly name: string;
  /** Whether it can connect through MTProto proxies that are to be spoken to as a TLS server (`ee`). */
  readonly speaksFakeTls: boolean;
  /** Internals beyond those of both libraries, for the check when a pool opens. */
  readonly parts: readonly string[];
  /** Methods that return synchronously, beyond those of both. */
  readonly synchronous: readonly string[];
  /** The requests of a sender that wait to be packed, to be changed in place. May hold gaps. */
  queue(sender: SenderBase): (RequestState | undefined)[];
  /** Runs `sift` each time right before the queue is packed. */
  onBeforePack(sender: SenderBase, sift: () => void): void;
  /** The handlers of a sender's messages by constructor number. To be changed in place. */
  handlers(sender: SenderBase): Record<string, (message: RpcResultMessage) => unknown>;
  /** Ends a sender's loops, so that nothing is sent or reconnected any more. */
  stop(sender: SenderBase): void;
  /** The connection of a sender is set up: initConnection was answered. */
  onConnected(sender: SenderBase): void;
  /** Arguments of this client's connections beyond address and data center. */
  connectionOptions(client: ClientInternals, center: CenterPort): Readonly<Record<string, unknown>>;
  /** A connect begins: its updates are to be processed. */
  onConnecting(client: ClientInternals): void;
  /** The client is not connected any more: stops what the library does between connections. */
  disconnected(client: ClientInternals): void;
  /** Telegram has answered a request at home: applies what the answer says about the state of updates. */
  answered?(client: ClientInternals, request: TlRequest, result: unknown): void;
  /** Completes an error for a request that is not sent, as the library does with its own. */
  toLibraryError(error: Error & { seconds?: number }, code: string): Error;
  /** The error that an upload or download of the library gets instead of `error`. */
  toTransferError(error: unknown, request: TlRequest): unknown;
}

/** The port that a session or Telegram's list of data centers names. */
export interface CenterPort {
  readonly port: number | undefined;
}

/** A request in a sender (network/RequestState.js). */
export interface RequestState {
  readonly request: TlRequest;
  /** The request's bytes, as they are going to be sent. */
  data: Buffer;
  readonly promise?: Promise<unknown>;
  readonly msgId?: unknown;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** The arguments of a library's own sender (network/MTProtoSender.js). */
export interface SenderOptions {
  readonly logger: unknown;
  readonly dcId: number;
  readonly retries: number;
  readonly reconnectRetries: number;
  readonly delay: number;
  readonly autoReconnect: boolean;
  readonly connectTimeout: unknown;
  readonly authKeyCallback: unknown;
  readonly updateCallback?: unknown;
  readonly isMainSender: boolean;
  readonly client: unknown;
  readonly onConnectionBreak?: unknown;
  readonly securityChecks: boolean;
  /** GramJS only. */
  readonly _exportedSenderPromises: Map<number, Promise<unknown>>;
}

/** A library's sender, with internals that its types call private. */
export interface SenderBase {
  _connection?: { disconnect(): Promise<void> };
  readonly _userConnected: boolean;
  dcId: number;
  readonly authKey: { getKey(): Buffer | undefined };
  readonly _state: ProtocolState;
  readonly _pendingState: {
    get(messageId: unknown): RequestState | undefined;
    values(): RequestState[];
    delete(messageId: unknown): void;
    clear(): void;
  };
  connect(connection: unknown, force: boolean): Promise<boolean>;
  disconnect(): Promise<void>;
  isConnected(): boolean;
  send(request: TlRequest): Promise<unknown> | undefined;
  addStateToQueue(state: RequestState): void;
  reconnect(): void;
  _handleBadAuthKey(shouldSkipForMain?: boolean): void;
}

/** A library's encryption state of one connection (network/MTProtoState.js), as far as it is replaced here. */
export interface ProtocolState {
  readonly authKey: { waitForKey(): Promise<void>; getKey(): Buffer | undefined };
  readonly salt: Long;
  readonly id: Long;
  _getNewMsgId(): Long;
  _getSeqNo(isContent: boolean): number;
  /** The last argument: teleproto only. */
  writeDataAsMessage(writer: Writer, data: Buffer, isContent: boolean, afterId?: Long, messageId?: Long): Promise<Long>;
  encryptMessageData(data: Buffer): Promise<Buffer>;
  decryptMessageData(body: Buffer): Promise<unknown>;
}

/** Writer of serialized bytes (extensions/BinaryWriter.js). */
export interface Writer {
  write(bytes: Buffer): void;
}

/** An answer as a library passes it to its handler. */
export interface RpcResultMessage {
  readonly obj: {
    readonly reqMsgId: unknown;
    readonly body?: Buffer | undefined;
    readonly error?: unknown;
    /** Why it could not be unpacked; then there is no body. */
    readonly unreadable?: unknown;
  };
}

/** A library's client class. */
export type LibraryClientClass = new (
  session: object,
  apiId: number,
  apiHash: string,
  params: ClientParams,
) => LibraryClient;

/** The options of a library's client (`TelegramClientParams`), as far as a pool reads them. */
export interface ClientParams {
  readonly baseLogger?: unknown;
  readonly networkSocket?: SocketClass;
  readonly proxy?: object;
  readonly [option: string]: unknown;
}

/** The public members of a library's client that are used. */
export interface LibraryClient {
  invoke(request: TlRequest, dcId?: number): Promise<unknown>;
  invokeWithSender(request: TlRequest, sender?: unknown): Promise<unknown>;
  getSender(dcId: number): Promise<unknown>;
  connect(): Promise<boolean>;
  addEventHandler(callback: (event: never) => unknown, builder?: EventBuilder): void;
  removeEventHandler(callback: (event: never) => unknown, builder?: EventBuilder): void;
  listEventHandlers(): (readonly [builder: unknown, callback: unknown])[];
  setLogLevel(level: unknown): void;
  readonly logger: { readonly logLevel: unknown };
  readonly session: unknown;
  _eventBuilders: (readonly [builder: unknown, callback: unknown])[];
}

/** Determines which events a handler gets. */
export interface EventBuilder {
  resolve(client: never): Promise<void>;
  /** Makes the event of an update, if it is one of this kind. */
  build?(...values: never[]): unknown;
  /** Whether the handler wants the event. */
  filter?(...values: never[]): unknown;
}

/** Internals of the client that an adapter uses. */
export interface ClientInternals {
  _sender: SenderBase | undefined;
  _loopStarted: boolean;
  _destroyed: boolean;
  _proxy: unknown;
  _eventBuilders: unknown[];
  readonly _initRequest: { query: unknown };
  _config: Config | undefined;
  readonly _log: { error(text: string): void };
  /** The user's `client.onError`. */
  readonly _errorHandler?: ((error: unknown) => unknown) | null;
  readonly _securityChecks: boolean;
  _lastRequest: number | undefined;
  readonly _connectedDeferred: { resolve(): void };
  _entityCache: EntityCacheView;
  readonly _connection: new (options: Readonly<Record<string, unknown>>) => LibraryConnection;
  readonly networkSocket: SocketClass;
  readonly session: LibrarySession;
  _initSession(): Promise<void>;
}

/** Telegram's own list of its data centers (`help.getConfig`). */
export interface Config {
  readonly dcOptions: readonly DcAddress[];
}

/** One data center in that list. */
export interface DcAddress {
  readonly id: number;
  readonly ipAddress: string;
  readonly port: number;
  readonly ipv6?: boolean | null;
  readonly cdn?: boolean | null;
  readonly tcpoOnly?: boolean | null;
  readonly mediaOnly?: boolean | null;
  readonly secret?: Uint8Array | null;
}

/** Replaces a client's `_entityCache`: GramJS uses the first two, teleproto exposes all of it to the user. */
export interface EntityCacheView {
  add(result: unknown): void;
  get(id: unknown): object;
  has(id: unknown): boolean;
  readonly size: number;
  delete(id: unknown): boolean;
  clear(): void;
}

/** Members of this package's session beyond the library's own. */
export interface PeerSession {
  readonly entityCache: EntityCacheView;
  /** Called with the account's own user whenever an answer or an update contains it. */
  onOwnUser: ((user: { readonly id?: unknown; readonly bot?: boolean }) => void) | undefined;
  /** Restores the peers that were known before. Never rejects. */
  restorePeers(): Promise<void>;
  /** Whether the peer is in the cache; `undefined` before the peers are restored. */
  knows(peer: PeerReference): boolean | undefined;
}

/** The session object of a pooled client. */
export interface LibrarySession extends PeerSession {
  readonly dcId: number;
  readonly serverAddress: string;
  readonly port: number | undefined;
  getAuthKey(dcId?: number): unknown;
  processEntities(result: unknown): void;
}

/** One transport connection. */
export interface LibraryConnection {
  readonly socket: { close(): unknown };
  connect(): Promise<void>;
  recv(): Promise<Buffer | undefined>;
  /** Frames one packet and writes it. */
  _send(packet: Buffer): Promise<void>;
}

/** The class that `clientOptions.networkSocket` holds. */
export type SocketClass = new (...values: never[]) => { connect(...values: never[]): Promise<unknown> };

/** A 64 bit number of a library's: with native numbers behind it where Node has them, which is everywhere. */
export interface Long {
  readonly value?: unknown;
  toString(): string;
  negate(): Long;
}

/** A request object of a library's `Api`. */
export interface TlRequest extends TelegramRequest {
  readonly classType: string;
  getBytes(): Buffer;
  /** Replaces names and ids by what Telegram knows them by. */
  resolve(client: unknown, utils: unknown): Promise<void>;
  readResult(reader: unknown): unknown;
}

type TlClass<Fields, Made = object> = new (fields: Fields) => Made;

/** The classes of a library's `Api` that are made here. */
export interface TlApi {
  readonly InvokeWithLayer: TlClass<{ layer: number; query: unknown }, TlRequest>;
  readonly InvokeWithoutUpdates: TlClass<{ query: unknown }, TlRequest> & { readonly CONSTRUCTOR_ID: number };
  readonly PingDelayDisconnect: TlClass<{ pingId: Long; disconnectDelay: number }, TlRequest>;
  readonly help: { readonly GetConfig: new () => TlRequest };
  readonly updates: { readonly GetState: new () => TlRequest };
  readonly users: { readonly GetUsers: TlClass<{ id: readonly object[] }, TlRequest> };
  readonly InputUserSelf: new () => object;
  readonly auth: {
    readonly ExportAuthorization: TlClass<{ dcId: number }, TlRequest>;
    readonly ImportAuthorization: TlClass<{ id: Long; bytes: Buffer }, TlRequest>;
  };
  readonly FutureSalts: TlClass<{ reqMsgId: Long; now: number; salts: readonly object[] }>;
  readonly FutureSalt: TlClass<{ validSince: number; validUntil: number; salt: Long }>;
  readonly PeerUser: TlClass<{ userId: Long }, TlPeer> & { readonly SUBCLASS_OF_ID: number };
  readonly PeerChat: TlClass<{ chatId: Long }, TlPeer>;
  readonly PeerChannel: TlClass<{ channelId: Long }, TlPeer>;
  readonly InputPeerUser: TlClass<{ userId: Long; accessHash: Long }>;
  readonly InputPeerChat: TlClass<{ chatId: Long }>;
  readonly InputPeerChannel: TlClass<{ channelId: Long; accessHash: Long }>;
}

/** A `PeerUser`, `PeerChat` or `PeerChannel`. */
export interface TlPeer {
  readonly SUBCLASS_OF_ID: number;
}

/** The answer to `auth.exportAuthorization`. */
export interface ExportedAuthorization {
  readonly id: Long;
  readonly bytes: Buffer;
}

/** A library's reader (extensions/BinaryReader.js). */
export interface TlReader {
  offset: number;
  read(length: number): Buffer;
  readInt(): number;
  tgReadBytes(): Buffer;
  readLong(isSigned?: boolean): Long;
  tgReadObject(): unknown;
}

/** Functions of a library's `utils`. */
export interface TlUtils {
  getPeerId(peer: TlPeer): unknown;
  resolveId(id: Long): readonly [Long, unknown];
}

/** Functions of a library's `helpers`. */
export interface TlHelpers {
  returnBigInt(number: string | bigint): Long;
  generateRandomLong(): Long;
}

/** An error that Telegram answers a request with. */
export type RpcErrorClass = new (message: string, request: never, code?: number) => Error & { errorMessage: string };

/** An error that names a number of seconds. */
export type WaitErrorClass = new (fields: { request: never; capture: number }) => Error & { seconds: number };

/** Classes of a library's `errors`. */
export interface LibraryErrors {
  readonly RPCError: RpcErrorClass;
  /** Something that was received is to be ignored. */
  readonly SecurityError: new (
    message: string,
  ) => Error;
  readonly FloodWaitError: WaitErrorClass;
  readonly SlowModeWaitError: WaitErrorClass;
}

/** The reader class with a quick way to 64 bit numbers. */
export type ReaderClass = new (data: Buffer) => TlReader;
