import type { Api } from "telegram";
import type { RequestState } from "telegram/network/RequestState.js";
import {
  ConnectionLostError,
  HeldBackError,
  type OutgoingRequest,
  type RequestGate,
  type Transmission,
} from "../../../src/connections/client-adapter.js";
import { fastReaderClass, quicken } from "./fast-protocol.js";
import type { Library, RpcResultMessage, SenderBase, SenderOptions } from "./library.js";
import { describeRequest } from "./request.js";

/** Whom a sender serves. */
export interface SenderOwner {
  readonly gate: RequestGate;
  /** Whether it talks to the account's own data centre. */
  readonly isHome: boolean;
  lost(reason: string): void;
}

/** A sender that never reconnects, never re-sends and lets nothing pass the gate. */
export interface PooledSender extends SenderBase {
  /** Whether it talks to the account's own data centre. */
  readonly isHome: boolean;
  readonly isLost: boolean;
  /** Once it is lost: resolves when its socket is closed. */
  readonly gone: Promise<unknown>;
  /** Puts a request on the wire, unless the gate holds it back in the last moment. */
  transmit(request: Api.AnyRequest, outgoing: OutgoingRequest): Transmission;
  /** Puts a request of the connection itself on the wire: no gate, no deadline. */
  transmitService(request: Api.AnyRequest): Promise<unknown>;
  /** Ends the connection: every request on it rejects with `ConnectionLostError`. */
  lose(reason: string): void;
}

export type PooledSenderClass = new (authKey: unknown, options: SenderOptions, owner: SenderOwner) => PooledSender;

/** Requests of the protocol itself: they are no API requests. Source: core.telegram.org/mtproto/service_messages. */
const SERVICE: ReadonlySet<string> = new Set(["Ping", "PingDelayDisconnect", "GetFutureSalts", "MsgsAck", "HttpWait"]);

/**
 * Makes the sender class. Every request of GramJS ends in a sender's `send` or `addStateToQueue`, also those that pass
 * by `invoke` (uploads, downloads, housekeeping), so this is where all of them meet the gate.
 */
export function senderClass(library: Library): PooledSenderClass {
  const Reader = fastReaderClass(library);
  return class Sender extends library.MTProtoSender implements PooledSender {
    isLost = false;
    gone: Promise<unknown> = Promise.resolve();
    readonly isHome: boolean;
    readonly #owner: SenderOwner;
    readonly #waiting = new Map<RequestState, OutgoingRequest>();
    #transportError: number | undefined;

    constructor(authKey: unknown, options: SenderOptions, owner: SenderOwner) {
      super(authKey, options);
      this.#owner = owner;
      this.isHome = owner.isHome;
      quicken(library, Reader, this._state);
      this.#dropWhatIsHeldBack();
      this.#noteTransportErrors();
    }

    transmit(request: Api.AnyRequest, outgoing: OutgoingRequest): Transmission {
      const state = this.#stateOf(request);
      if (state instanceof Error) return { answer: Promise.reject(state), abandon: () => {} };
      this.#waiting.set(state, outgoing);
      const answer = Promise.resolve(state.promise).finally(() => this.#waiting.delete(state));
      if (!this.isHome) answer.catch((error: unknown) => this.#loseIfUnauthorised(error));
      super.addStateToQueue(state);
      return { answer, abandon: () => this.#forget(state) };
    }

    transmitService(request: Api.AnyRequest): Promise<unknown> {
      const state = this.#stateOf(request);
      if (state instanceof Error) return Promise.reject(state);
      super.addStateToQueue(state);
      return Promise.resolve(state.promise);
    }

    override send(request: Api.AnyRequest): Promise<unknown> {
      if (SERVICE.has(request.className) || isConnectRequest(request)) return this.transmitService(request);
      const outgoing = describeRequest(request, this.#owner.isHome);
      return this.#owner.gate.call(outgoing, undefined, () => this.transmit(request, outgoing));
    }

    override addStateToQueue(state: RequestState): void {
      this.send(state.request).then(state.resolve, state.reject);
    }

    lose(reason: string): void {
      if (this.isLost) return;
      this.isLost = true;
      this._userConnected = false;
      this.userDisconnected = true;
      for (const state of new Set([
        ...this.#waiting.keys(),
        ...this._pendingState.values(),
        ...this._sendQueue._queue,
      ])) {
        // Acknowledgements are queued too, and nobody listens to theirs.
        state?.promise?.catch(() => {});
        state?.reject(new ConnectionLostError(reason, state.msgId !== undefined));
      }
      this._pendingState.clear();
      this._sendQueue.clear();
      this.gone = (async () => this._connection?.disconnect())().catch(() => {});
      this.#owner.lost(reason);
    }

    override async disconnect(): Promise<void> {
      this.lose("closed");
    }

    /** GramJS reconnects with everything pending, also into a cooldown; the pool decides that itself. */
    override reconnect(): void {
      const code = this.#transportError;
      this.lose(
        code === undefined ? "the connection was lost" : `Telegram closed the connection (transport error ${code})`,
      );
    }

    override _handleBadAuthKey(shouldSkipForMain = false): void {
      if (!shouldSkipForMain) this.lose("Telegram does not know the auth key (transport error -404)");
    }

    /** GramJS throws an answered error once more, out of the container that holds the answers behind it. */
    override _handleRPCResult(message: RpcResultMessage): void {
      const { reqMsgId, body, error } = message.obj;
      const state = this._pendingState.get(reqMsgId);
      try {
        if (state === undefined || body === undefined || error !== undefined) super._handleRPCResult(message);
        else {
          this._pendingState.delete(reqMsgId);
          state.resolve(state.request.readResult(new Reader(body)));
        }
      } catch (failure) {
        // GramJS has rejected the request's own promise already; a second time changes nothing.
        state?.reject(failure);
      }
    }

    #stateOf(request: Api.AnyRequest): RequestState | ConnectionLostError {
      if (!this._userConnected) return new ConnectionLostError("the connection was lost", false);
      return new library.RequestState(request);
    }

    #forget(state: RequestState): void {
      this.#waiting.delete(state);
      if (state.msgId !== undefined) this._pendingState.delete(state.msgId);
      this._sendQueue._queue = this._sendQueue._queue.filter((queued) => queued !== state);
      state.reject(new ConnectionLostError("nobody waits for the answer", state.msgId !== undefined));
    }

    /** What home has exported to another data centre is forgotten there: the next request exports anew. */
    #loseIfUnauthorised(error: unknown): void {
      const code: unknown = typeof error === "object" && error !== null ? Reflect.get(error, "code") : undefined;
      if (code === 401) this.lose("the data centre does not know the exported authorisation");
    }

    /** The last look before the bytes are made: a wait may have become known since the request was queued. */
    #dropWhatIsHeldBack(): void {
      const packer = this._sendQueue;
      const get = packer.get.bind(packer);
      packer.get = () => {
        packer._queue = packer._queue.filter((state) => {
          const outgoing = state === undefined ? undefined : this.#waiting.get(state);
          if (outgoing === undefined || !this.#owner.gate.isHeldBack(outgoing)) return true;
          state?.reject(new HeldBackError());
          return false;
        });
        return get();
      };
    }

    /** Four bytes instead of a message are a transport error. Source: core.telegram.org/mtproto/mtproto-transports. */
    #noteTransportErrors(): void {
      const decrypt = this._state.decryptMessageData.bind(this._state);
      this._state.decryptMessageData = (body) => {
        if (body.length >= 4 && body.length < 8) this.#transportError = body.readInt32LE(0);
        return decrypt(body);
      };
    }
  };
}

/** What GramJS sends by itself to set a connection up: initConnection, with the query that has to go along. */
function isConnectRequest(request: Api.AnyRequest): boolean {
  if (request.className !== "InvokeWithLayer") return false;
  const { query } = request as Api.InvokeWithLayer;
  return (query as { readonly className?: string }).className === "InitConnection";
}
