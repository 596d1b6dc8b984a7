import type { Clock, Timer } from "../../../src/common/clock.js";
import type { RequestGate } from "../../../src/connections/client-adapter.js";
import type { ClientClasses } from "./client.js";
import { updateHandler } from "./event-handlers.js";
import type {
  ClientInternals,
  Library,
  LibraryClient,
  LibraryConnection,
  SenderOptions,
  TlRequest,
} from "./library.js";
import { dialedAddress } from "./private-server.js";
import { hideSecrets } from "./secrets.js";
import { PooledSender } from "./sender.js";

/** Where a connection goes, and what is called when it ends. */
export interface Destination {
  readonly dcId: number;
  readonly address: string;
  /** As the session or Telegram names it; whether it is used depends on the library. */
  readonly port: number | undefined;
  /** Whether it is the account's own data center. */
  readonly isHomeDc: boolean;
  lost(sender: PooledSender, reason: string): void;
}

/** Opens the connections of one client (a socket, a sender on it, an auth key) and keeps them alive. */
export class Dialer {
  readonly #classes: ClientClasses;
  readonly #client: LibraryClient;
  readonly #internals: ClientInternals;
  readonly #gate: RequestGate;
  readonly #clock: Clock;
  readonly #receivesUpdates: boolean;

  /** `receivesUpdates`: whether Telegram is to send the account's updates over the connections home. */
  constructor(
    classes: ClientClasses,
    client: LibraryClient,
    gate: RequestGate,
    clock: Clock,
    receivesUpdates: boolean,
  ) {
    this.#classes = classes;
    this.#client = client;
    this.#internals = client as unknown as ClientInternals;
    this.#gate = gate;
    this.#clock = clock;
    this.#receivesUpdates = receivesUpdates;
  }

  /**
   * Connects, runs `setUp` on the new sender, and resolves the sender. When any of it fails, or the signal aborts, socket
   * and sender are closed.
   */
  async open(
    to: Destination,
    signal: AbortSignal,
    setUp: (sender: PooledSender) => Promise<void>,
  ): Promise<PooledSender> {
    const connection = this.#connection(to);
    const heartbeat = new Heartbeat(this.#classes.library, this.#clock);
    const sender: PooledSender = this.#sender(to, (reason) => {
      heartbeat.stop();
      to.lost(sender, reason);
    });
    sender.watch(connection);
    let closed: Promise<unknown> = Promise.resolve();
    const stop = (): void => {
      sender.disconnectWith("the connect was aborted");
      // A user's socket class may close without a promise.
      const closing = (async () => connection.socket.close())().catch(() => {});
      closed = Promise.all([sender.closed, closing]);
    };
    signal.addEventListener("abort", stop, { once: true });
    try {
      signal.throwIfAborted();
      await connection.connect();
      signal.throwIfAborted();
      if (!(await sender.base.connect(connection, false))) throw new KeyExchangeError("the key exchange failed");
      await setUp(sender);
      this.#classes.library.differences.onConnected(sender.base);
      signal.throwIfAborted();
      heartbeat.start(sender);
      return sender;
    } catch (error) {
      stop();
      await closed;
      throw error;
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  /**
   * Wraps the first query of a connection, so that Telegram gets the layer and the profile. Each request that is not
   * wrapped in invokeWithoutUpdates subscribes its connection to updates. Source: core.telegram.org/method/invokeWithoutUpdates.
   */
  initConnection(query: TlRequest): TlRequest {
    const { Api, layer } = this.#classes.library;
    const init = this.#internals._initRequest;
    init.query = this.#receivesUpdates ? query : new Api.InvokeWithoutUpdates({ query });
    return new Api.InvokeWithLayer({ layer, query: init });
  }

  #connection({ dcId, address, port }: Destination): LibraryConnection {
    const client = this.#internals;
    return new client._connection({
      ip: address,
      dcId,
      loggers: client._log,
      proxy: client._proxy,
      socket: client.networkSocket,
      ...this.#classes.library.differences.connectionOptions(client, { port }),
      ...(this.#classes.server === undefined ? {} : dialedAddress(this.#classes.server, { dcId, port })),
    });
  }

  #sender({ dcId, isHomeDc }: Destination, lost: (reason: string) => void): PooledSender {
    const client = this.#internals;
    const options: SenderOptions = {
      logger: client._log,
      dcId,
      retries: 1,
      reconnectRetries: 0,
      delay: 0,
      autoReconnect: false,
      connectTimeout: undefined,
      authKeyCallback: async () => {},
      isMainSender: isHomeDc,
      client: this.#client,
      securityChecks: client._securityChecks,
      _exportedSenderPromises: new Map(),
      ...(isHomeDc ? { updateCallback: updateHandler(this.#classes.library) } : {}),
    };
    const receivesUpdates = this.#receivesUpdates && isHomeDc;
    const owner = { gate: this.#gate, isHomeDc, receivesUpdates, lost };
    const key = client.session.getAuthKey(dcId);
    if (typeof key === "object" && key !== null) hideSecrets(key, "auth key");
    return new PooledSender(this.#classes, key, options, owner);
  }
}

/** The library says no more: its own error goes to its log. */
export class KeyExchangeError extends Error {
  override readonly name = "KeyExchangeError";
}

/** How often a connection is checked, and how long Telegram may take to answer: together less than 40 s. */
const PING_EVERY_MS = 20_000;
const PONG_WITHIN_MS = 10_000;
/** Seconds after which Telegram drops a connection without another ping. */
const DISCONNECT_DELAY_SECONDS = 75;

/**
 * Keeps one connection alive and detects when it is dead. A library's own loop keeps a finished process alive, and continues
 * after a disconnect; this one is unref'd and ends with its connection.
 */
class Heartbeat {
  readonly #library: Library;
  readonly #clock: Clock;
  #timer: Timer | undefined;

  constructor(library: Library, clock: Clock) {
    this.#library = library;
    this.#clock = clock;
  }

  start(sender: PooledSender): void {
    if (!sender.isLost) this.#timer = this.#clock.setTimer(PING_EVERY_MS, () => this.#ping(sender));
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #ping(sender: PooledSender): void {
    const { Api, helpers } = this.#library;
    const pingId = helpers.generateRandomLong();
    const ping = new Api.PingDelayDisconnect({ pingId, disconnectDelay: DISCONNECT_DELAY_SECONDS });
    const disconnect = (): void => sender.disconnectWith("Telegram did not answer a ping");
    this.#timer = this.#clock.setTimer(PONG_WITHIN_MS, disconnect);
    sender.transmitService(ping).then(
      () => {
        this.#timer?.cancel();
        this.start(sender);
      },
      () => this.#timer?.cancel(),
    );
  }
}
