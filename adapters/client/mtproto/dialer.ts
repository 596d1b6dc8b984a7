import type { RequestGate } from "../../../src/connections/client-adapter.js";
import type { ClientClasses } from "./client.js";
import { updateTaker } from "./event-handlers.js";
import type { ClientInternals, LibraryClient, LibraryConnection, SenderOptions } from "./library.js";
import { hideSecrets } from "./secrets.js";
import type { PooledSender } from "./sender.js";
import type { TlRequest } from "./tl.js";

/** Where a connection goes, and who hears of its end. */
export interface Destination {
  readonly dcId: number;
  readonly address: string;
  /** As the session or Telegram names it; whether it is dialled is the library's habit. */
  readonly port: number | undefined;
  /** Whether it is the account's own data center. */
  readonly isHomeDc: boolean;
  lost(sender: PooledSender, reason: string): void;
}

/** Opens connections of one client: a socket, a sender on it, an auth key. */
export class Dialer {
  readonly #kit: ClientClasses;
  readonly #client: LibraryClient;
  readonly #internals: ClientInternals;
  readonly #gate: RequestGate;
  readonly #receivesUpdates: boolean;

  /** `takesUpdates`: whether Telegram is to send the account's updates over the connections home. */
  constructor(kit: ClientClasses, client: LibraryClient, gate: RequestGate, receivesUpdates: boolean) {
    this.#kit = kit;
    this.#client = client;
    this.#internals = client as unknown as ClientInternals;
    this.#gate = gate;
    this.#receivesUpdates = receivesUpdates;
  }

  /**
   * Connects, runs `setUp` on the new sender, and resolves the sender. Whatever fails, and when the signal aborts, both
   * are closed.
   */
  async open(
    to: Destination,
    signal: AbortSignal,
    setUp: (sender: PooledSender) => Promise<void>,
  ): Promise<PooledSender> {
    const connection = this.#connection(to);
    const sender: PooledSender = this.#sender(to, (reason) => to.lost(sender, reason));
    sender.watch(connection);
    let closed: Promise<unknown> = Promise.resolve();
    const stop = (): void => {
      sender.disconnectWith("the connect was given up");
      // A socket class of the user's may close without a promise.
      const closing = (async () => connection.socket.close())().catch(() => {});
      closed = Promise.all([sender.closed, closing]);
    };
    signal.addEventListener("abort", stop, { once: true });
    try {
      signal.throwIfAborted();
      await connection.connect();
      signal.throwIfAborted();
      if (!(await sender.connect(connection, false))) throw new Error("the key exchange failed");
      await setUp(sender);
      this.#kit.library.differences.onConnected(sender);
      signal.throwIfAborted();
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
   * Wraps the query with which a connection begins: it tells Telegram the layer and the profile. Each request that is not
   * wrapped in invokeWithoutUpdates subscribes its connection. Source: core.telegram.org/method/invokeWithoutUpdates.
   */
  initConnection(query: TlRequest): TlRequest {
    const { Api, layer } = this.#kit.library;
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
      ...this.#kit.library.differences.connectionOptions(client, { port }),
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
      ...(isHomeDc ? { updateCallback: updateTaker(this.#kit.library) } : {}),
    };
    const receivesUpdates = this.#receivesUpdates && isHomeDc;
    const owner = { gate: this.#gate, isHomeDc, receivesUpdates, lost };
    const key = client.session.getAuthKey(dcId);
    if (typeof key === "object" && key !== null) hideSecrets(key, "auth key");
    return new this.#kit.senders(key, options, owner);
  }
}
