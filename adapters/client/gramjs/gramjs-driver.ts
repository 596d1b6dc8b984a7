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

/** What GramJS's sender has inside, and teleproto's has not (network/MTProtoSender.js, 2.26.22). */
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

/** How GramJS is built where teleproto is built in another way. */
export function gramjsDriver(errors: LibraryErrors): LibraryDriver {
  return {
    name: "GramJS",
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
    // It dials 80 or 443, whatever the session or Telegram names (client/TelegramClient.js, 2.26.22).
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

/** GramJS sleeps out a FloodWaitError in the middle of an upload, however long; any other class it lets through. */
function toNonSleepableError(errors: LibraryErrors, error: unknown, request: TlRequest): unknown {
  if (!(error instanceof errors.FloodWaitError)) return error;
  const { seconds } = error as { seconds?: number };
  return Object.assign(new errors.RPCError(`FLOOD_WAIT_${seconds}`, request as never, 420), { seconds });
}

const patientBuilders = new WeakSet<EventBuilder>();

/**
 * A client that lets an event builder which has to ask Telegram first (`chats: ["name"]`) fail quietly and ask again
 * with the next update. GramJS awaits it where nobody catches, and the process would end.
 */
export function tolerantClient(Base: LibraryClientClass): LibraryClientClass {
  return class PatientClient extends Base {
    override addEventHandler(...[callback, builder]: Parameters<LibraryClient["addEventHandler"]>): void {
      super.addEventHandler(callback, builder === undefined ? undefined : tolerateFailure(builder));
    }
  };
}

function tolerateFailure(builder: EventBuilder): EventBuilder {
  if (patientBuilders.has(builder)) return builder;
  patientBuilders.add(builder);
  const resolve = builder.resolve.bind(builder);
  builder.resolve = (client) => resolve(client).catch(() => {});
  return builder;
}
