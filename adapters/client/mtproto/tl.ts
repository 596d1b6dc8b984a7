import type { TelegramRequest } from "../../../src/telegram/requests.js";

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

/** Of a library's `utils`. */
export interface TlUtils {
  getPeerId(peer: TlPeer): unknown;
  resolveId(id: Long): readonly [Long, unknown];
}

/** Of a library's `helpers`. */
export interface TlHelpers {
  returnBigInt(number: string | bigint): Long;
  generateRandomLong(): Long;
}

/** An error that Telegram answers a request with. */
export type RpcErrorClass = new (message: string, request: never, code?: number) => Error & { errorMessage: string };

/** An error that names a number of seconds. */
export type WaitErrorClass = new (fields: { request: never; capture: number }) => Error & { seconds: number };

/** Of a library's `errors`. */
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
