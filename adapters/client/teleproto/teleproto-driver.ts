import type {
  ClientInternals,
  LibraryDriver,
  RequestState,
  RpcResultMessage,
  SenderBase,
  TlRequest,
} from "../mtproto/library.js";

/** Internals of teleproto's sender that GramJS's lacks (network/MTProtoSender.js, 1.229.0). */
interface Sender extends SenderBase {
  _queued: RequestState[];
  _lifecycle: "disconnected" | "connecting" | "connected" | "reconnecting" | "dead";
  _needsInitConnection: boolean;
  readonly _dispatcher: { readonly handlers: Record<string, (message: RpcResultMessage) => unknown> };
  _stopIo(): void;
}

interface Client extends ClientInternals {
  readonly _testServers: boolean;
  readonly _keepAliveInterval: number | undefined;
  readonly updateManager: {
    /** Set once the client has caught up: from then on gaps are detected. */
    readonly state?: object;
    start(): void;
    stop(): void;
    onUpdates(update: unknown, isOwn: boolean): void;
    applyAffected(pts: number, count: number, channelId: string | undefined): void;
  };
}

/** The internals of teleproto where they differ from those of GramJS. */
export const teleprotoDriver: LibraryDriver = {
  name: "teleproto",
  // network/connection/TCPMTProxy.js, 1.229.0.
  speaksFakeTls: true,
  parts: [
    "sender._queued",
    "sender._lifecycle",
    "sender._needsInitConnection",
    "sender._dispatcher.handlers",
    "sender._stopIo",
    "client._testServers",
    "client._media.opts.upload",
    "client._leaseSender",
    "client.api",
    "client.updateManager.start",
    "client.updateManager.stop",
    "client.updateManager.onUpdates",
    "client.updateManager.applyAffected",
  ],
  synchronous: [
    "iterAdminLog",
    "iterChatInviteImporters",
    "iterExportedChatInvites",
    "_lookupDcOption",
    "_makeSender",
    "_sanitizeParseMode",
    "_teardownUpdateState",
  ],
  queue: (sender) => (sender as Sender)._queued,
  onBeforePack: dropBlocked,
  handlers: (sender) => (sender as Sender)._dispatcher.handlers,
  stop: (base) => {
    const sender = base as Sender;
    sender._lifecycle = "dead";
    sender._queued.length = 0;
    sender._stopIo();
  },
  // Otherwise it would wrap the first request into a second initConnection.
  onConnected: (sender) => {
    (sender as Sender)._needsInitConnection = false;
  },
  connectionOptions: (client, { port }) => {
    const { _testServers: testServers, _keepAliveInterval: keepAliveInterval } = client as Client;
    return { port: dialPort(port), testServers, keepAliveInterval };
  },
  // It passes updates on only between start and stop; its own start belongs to a loop with pings and requests of its own.
  onConnecting: (client) => (client as Client).updateManager.start(),
  disconnected: (client) => (client as Client).updateManager.stop(),
  answered: applyUpdateState,
  toLibraryError: (error, code) => Object.assign(error, { errorMessage: code }),
  toTransferError: (error) => error,
};

/** Its writer reads the array directly: an accessor runs right before the requests are packed. */
function dropBlocked(sender: SenderBase, sift: () => void): void {
  const queue = (sender as Sender)._queued;
  let isSifting = false;
  Object.defineProperty(sender, "_queued", {
    configurable: true,
    get: () => {
      if (isSifting) return queue;
      isSifting = true;
      try {
        sift();
      } finally {
        isSifting = false;
      }
      return queue;
    },
  });
}

/** It dials the session's port, which StringSession reads as a signed number (sessions/StringSession.js, 1.229.0). */
function dialPort(port: number | undefined): number {
  if (port === undefined || port === 0) return 80;
  return port < 0 ? port + 0x10000 : port;
}

/** Applies the update state in an answer. Otherwise the client's own changes would look like a gap. */
interface UpdateStateAnswer {
  readonly className?: string;
  /** A field that Telegram left out is `null`. */
  readonly pts?: number | null;
  readonly ptsCount?: number | null;
}

function applyUpdateState(client: ClientInternals, request: TlRequest, result: unknown): void {
  const { updateManager } = client as Client;
  if (updateManager.state === undefined || typeof result !== "object" || result === null) return;
  const { className = "", pts, ptsCount } = result as UpdateStateAnswer;
  if (/^Update/.test(className)) updateManager.onUpdates(result, true);
  else if (className.startsWith("messages.Affected") && typeof pts === "number" && typeof ptsCount === "number") {
    const channel = Reflect.get(request, "channel") as { readonly channelId?: unknown } | null | undefined;
    const channelId = channel?.channelId ?? undefined;
    updateManager.applyAffected(pts, ptsCount, channelId === undefined ? undefined : String(channelId));
  }
}
