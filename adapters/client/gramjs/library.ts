import type { Api, TelegramClient } from "telegram";
import type { TelegramClientParams } from "telegram/client/telegramBaseClient.js";
import type { RequestState } from "telegram/network/RequestState.js";
import { OptionsError } from "../../../src/errors.js";
import type { ProtocolState } from "./fast-protocol.js";
import type { EntityCacheView, PeerSession } from "./session.js";

/** What `gramjs` and its clients need of the `telegram` package. Imported when a pool opens, never at module load. */
export interface Library {
  readonly TelegramClient: typeof TelegramClient;
  readonly Api: typeof Api;
  readonly layer: number;
  readonly StringSession: typeof import("telegram/sessions/index.js").StringSession;
  readonly Logger: typeof import("telegram/extensions/Logger.js").Logger;
  readonly LogLevel: typeof import("telegram/extensions/Logger.js").LogLevel;
  readonly PromisedNetSockets: typeof import("telegram/extensions/index.js").PromisedNetSockets;
  readonly RequestState: typeof RequestState;
  readonly BinaryReader: typeof import("telegram/extensions/index.js").BinaryReader;
  readonly GZIPPacked: typeof import("telegram/tl/core/index.js").GZIPPacked;
  readonly TLMessage: typeof import("telegram/tl/core/index.js").TLMessage;
  readonly IGE: typeof import("telegram/crypto/IGE.js").IGE;
  readonly MTProtoSender: new (authKey: unknown, options: SenderOptions) => SenderBase;
  readonly errors: typeof import("telegram/errors/index.js");
  readonly utils: typeof import("telegram/Utils.js");
  readonly helpers: typeof import("telegram/Helpers.js");
  readonly handleUpdate: (client: TelegramClient, update: unknown) => void;
}

/** The arguments of GramJS's own sender (network/MTProtoSender.js). */
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
  readonly client: TelegramClient;
  readonly onConnectionBreak?: unknown;
  readonly securityChecks: boolean;
  readonly _exportedSenderPromises: Map<number, Promise<unknown>>;
}

/** GramJS's sender, with the inner parts that a sender of ours has to reach: its types call them private. */
export interface SenderBase {
  _connection?: { disconnect(): Promise<void> };
  _userConnected: boolean;
  userDisconnected: boolean;
  dcId: number;
  readonly authKey: { getKey(): Buffer | undefined };
  readonly _state: ProtocolState;
  readonly _sendQueue: { _queue: (RequestState | undefined)[]; get(): Promise<unknown>; clear(): void };
  readonly _pendingState: {
    get(messageId: unknown): RequestState | undefined;
    values(): RequestState[];
    delete(messageId: unknown): void;
    clear(): void;
  };
  connect(connection: unknown, force: boolean): Promise<boolean>;
  disconnect(): Promise<void>;
  isConnected(): boolean;
  send(request: Api.AnyRequest): Promise<unknown> | undefined;
  addStateToQueue(state: RequestState): void;
  reconnect(): void;
  _handleBadAuthKey(shouldSkipForMain?: boolean): void;
  _handleRPCResult(message: RpcResultMessage): void;
}

/** An answer as GramJS hands it to its sender. */
export interface RpcResultMessage {
  readonly obj: { readonly reqMsgId: unknown; readonly body?: Buffer | undefined; readonly error?: unknown };
}

/** The client's inner parts that an adapter has to reach. */
export interface ClientInternals {
  _sender: SenderBase | undefined;
  _loopStarted: boolean;
  _destroyed: boolean;
  _proxy: unknown;
  _eventBuilders: unknown[];
  _initRequest: Api.InitConnection;
  _config: Api.Config | undefined;
  _log: unknown;
  _securityChecks: boolean;
  _lastRequest: number | undefined;
  readonly _connectedDeferred: { resolve(): void };
  _entityCache: EntityCacheView;
  readonly _connection: new (options: Record<string, unknown>) => LibraryConnection;
  readonly networkSocket: SocketClass;
  readonly session: LibrarySession;
  readonly testServers: boolean;
  readonly useWSS: boolean;
  _initSession(): Promise<void>;
}

/** The session object of a client of ours. */
export interface LibrarySession extends PeerSession {
  readonly dcId: number;
  readonly serverAddress: string;
  getAuthKey(dcId?: number): unknown;
  processEntities(result: unknown): void;
}

/** One transport connection. */
export interface LibraryConnection {
  readonly socket: { close(): unknown };
  connect(): Promise<void>;
}

/** The class that `clientOptions.networkSocket` holds. */
export type SocketClass = NonNullable<TelegramClientParams["networkSocket"]>;

/** Imports the `telegram` package. Throws `OptionsError` with the fix when it is missing. */
export async function loadLibrary(): Promise<Library> {
  try {
    const [root, sessions, logger, extensions, sender, state, updates, objects, core, ige] = await Promise.all([
      import("telegram"),
      import("telegram/sessions/index.js"),
      import("telegram/extensions/Logger.js"),
      import("telegram/extensions/index.js"),
      import("telegram/network/MTProtoSender.js"),
      import("telegram/network/RequestState.js"),
      import("telegram/client/updates.js"),
      import("telegram/tl/AllTLObjects.js"),
      import("telegram/tl/core/index.js"),
      import("telegram/crypto/IGE.js"),
    ]);
    return {
      TelegramClient: root.TelegramClient,
      Api: root.Api,
      layer: objects.LAYER,
      StringSession: sessions.StringSession,
      Logger: logger.Logger,
      LogLevel: logger.LogLevel,
      PromisedNetSockets: extensions.PromisedNetSockets,
      RequestState: state.RequestState,
      BinaryReader: extensions.BinaryReader,
      GZIPPacked: core.GZIPPacked,
      TLMessage: core.TLMessage,
      IGE: ige.IGE,
      MTProtoSender: sender.MTProtoSender as unknown as Library["MTProtoSender"],
      errors: root.errors,
      utils: root.utils,
      helpers: root.helpers,
      handleUpdate: updates._handleUpdate as unknown as Library["handleUpdate"],
    };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw new OptionsError('gramjs() needs the package "telegram": npm install telegram@^2.26.22', { cause: error });
  }
}
