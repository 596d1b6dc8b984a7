import type {
  ClientInternals,
  LibraryDriver,
  RequestState,
  RpcResultMessage,
  SenderBase,
  TlRequest,
} from "../mtproto/library.js";

/** What teleproto's sender has inside, and GramJS's has not (network/MTProtoSender.js, 1.229.0). */
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
    /** Set once somebody has caught up: from then on gaps are looked for. */
    readonly state?: object;
    start(): void;
    stop(): void;
    onUpdates(update: unknown, isOwn: boolean): void;
    applyAffected(pts: number, count: number, channelId: string | undefined): void;
  };
}

/** How teleproto is built where GramJS is built in another way. */
export const teleprotoDriver: LibraryDriver = {
  name: "teleproto",
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
  // Else it would wrap the first request into a second initConnection.
  onConnected: (sender) => {
    (sender as Sender)._needsInitConnection = false;
  },
  connectionOptions: (client, { port }) => {
    const { _testServers: testServers, _keepAliveInterval: keepAliveInterval } = client as Client;
    return { port: dialPort(port), testServers, keepAliveInterval };
  },
  // It lets updates pass only between start and stop; its own start is part of a loop that pings and asks by itself.
  onConnecting: (client) => (client as Client).updateManager.start(),
  disconnected: (client) => (client as Client).updateManager.stop(),
  answered: applyUpdateState,
  toLibraryError: (error, code) => Object.assign(error, { errorMessage: code }),
  toTransferError: (error) => error,
};

/** Its writer takes from the array by itself, so that the array is asked for right before bytes are made of it. */
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

/** What an answer tells of the state of updates: without it, what the client does itself would look like a gap. */
interface Told {
  readonly className?: string;
  /** A field that Telegram left out is `null`. */
  readonly pts?: number | null;
  readonly ptsCount?: number | null;
}

function applyUpdateState(client: ClientInternals, request: TlRequest, result: unknown): void {
  const { updateManager } = client as Client;
  if (updateManager.state === undefined || typeof result !== "object" || result === null) return;
  const { className = "", pts, ptsCount } = result as Told;
  if (/^Update/.test(className)) updateManager.onUpdates(result, true);
  else if (className.startsWith("messages.Affected") && typeof pts === "number" && typeof ptsCount === "number") {
    const channel = Reflect.get(request, "channel") as { readonly channelId?: unknown } | null | undefined;
    const channelId = channel?.channelId ?? undefined;
    updateManager.applyAffected(pts, ptsCount, channelId === undefined ? undefined : String(channelId));
  }
}
