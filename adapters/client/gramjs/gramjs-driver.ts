import type {
  ClientInternals,
  EventBuilder,
  LibraryClient,
  LibraryClientClass,
  LibraryDriver,
  LibraryErrors,
  RequestState,
  RpcResultMessage,
  SenderBase,
  TlRequest,
} from "../mtproto/library.js";

/** Internals of GramJS's sender that teleproto's lacks (network/MTProtoSender.js, 2.26.22). */
interface Sender extends SenderBase {
  _userConnected: boolean;
  userDisconnected: boolean;
  readonly _handlers: Record<string, (message: RpcResultMessage) => unknown>;
  readonly _sendQueue: { _queue: (RequestState | undefined)[]; get(): Promise<unknown>; clear(): void };
}

interface Client extends ClientInternals {
  readonly testServers: boolean;
  readonly useWSS: boolean;
}

/** The internals of GramJS where they differ from those of teleproto. */
export function gramjsDriver(errors: LibraryErrors): LibraryDriver {
  return {
    name: "GramJS",
    // network/connection/TCPMTProxy.js, 2.26.22.
    speaksFakeTls: false,
    parts: ["sender._sendQueue._queue", "sender._sendQueue.get", "sender._sendQueue.clear", "sender._handlers"],
    synchronous: ["_createExportedSender", "_removeSender"],
    queue: (sender) => (sender as Sender)._sendQueue._queue,
    onBeforePack: (sender, sift) => {
      const packer = (sender as Sender)._sendQueue;
      const get = packer.get.bind(packer);
      packer.get = () => {
        sift();
        return get();
      };
    },
    handlers: (sender) => (sender as Sender)._handlers,
    stop: (base) => {
      const sender = base as Sender;
      sender._userConnected = false;
      sender.userDisconnected = true;
      sender._sendQueue.clear();
    },
    onConnected: () => {},
    // It connects to 80 or 443, regardless of the port that the session or Telegram names (client/TelegramClient.js, 2.26.22).
    connectionOptions: (client) => {
      const { useWSS, testServers } = client as Client;
      return { port: useWSS ? 443 : 80, testServers };
    },
    onConnecting: () => {},
    disconnected: () => {},
    toLibraryError: (error) => error,
    toTransferError: (error, request) => toNonSleepableError(errors, error, request),
  };
}

/** In an upload GramJS sleeps out any FloodWaitError, however long; it passes any other class on. */
function toNonSleepableError(errors: LibraryErrors, error: unknown, request: TlRequest): unknown {
  if (!(error instanceof errors.FloodWaitError)) return error;
  const { seconds } = error as { seconds?: number };
  return Object.assign(new errors.RPCError(`FLOOD_WAIT_${seconds}`, request as never, 420), { seconds });
}

const tolerantBuilders = new WeakSet<EventBuilder>();

/**
 * A client whose event builders may fail to resolve (`chats: ["name"]` asks Telegram) and retry with the next update.
 * GramJS awaits them without a catch, which would end the process.
 */
export function tolerantClient(Base: LibraryClientClass): LibraryClientClass {
  return class TolerantClient extends Base {
    override addEventHandler(...[callback, builder]: Parameters<LibraryClient["addEventHandler"]>): void {
      super.addEventHandler(callback, builder === undefined ? undefined : tolerateFailure(builder));
    }
  };
}

function tolerateFailure(builder: EventBuilder): EventBuilder {
  if (tolerantBuilders.has(builder)) return builder;
  tolerantBuilders.add(builder);
  const resolve = builder.resolve.bind(builder);
  builder.resolve = (client) => resolve(client).catch(() => {});
  return builder;
}
