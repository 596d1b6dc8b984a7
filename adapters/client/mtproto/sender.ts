import {
  ConnectionLostError,
  HeldBackError,
  type InFlightRequest,
  type OutgoingRequest,
  type RequestGate,
  UnreadableAnswerError,
} from "../../../src/connections/client-adapter.js";
import { OptionsError } from "../../../src/errors.js";
import { classifyTelegramError } from "../../../src/telegram/verdicts.js";
import type { Library, LibraryConnection, RequestState, SenderBase, SenderOptions } from "./library.js";
import { nativeReaderClass, type Packets, patchCodec } from "./native-codec.js";
import { describeRequest } from "./request.js";
import { hideFields, hideSecrets } from "./secrets.js";
import type { TlRequest } from "./tl.js";

/** Whom a sender serves. */
export interface SenderOwner {
  readonly gate: RequestGate;
  /** Whether it talks to the account's own data center. */
  readonly isHomeDc: boolean;
  /** Whether its requests make Telegram send it updates. */
  readonly receivesUpdates: boolean;
  lost(reason: string): void;
}

/** A sender that never reconnects, never re-sends and lets nothing pass the gate. */
export interface PooledSender extends SenderBase {
  /** Whether it talks to the account's own data center. */
  readonly isHomeDc: boolean;
  readonly isLost: boolean;
  /** Once it is lost: resolves when its socket is closed. */
  readonly closed: Promise<unknown>;
  /** Puts a request on the wire, unless the gate holds it back in the last moment. */
  transmit(request: TlRequest, outgoing: OutgoingRequest): InFlightRequest;
  /** Puts a request of the connection itself on the wire: no gate, no deadline. */
  transmitService(request: TlRequest): Promise<unknown>;
  /** Notes what Telegram says when it closes the connection. To be called before `connect`. */
  watch(connection: LibraryConnection): void;
  /** Ends the connection: every request on it rejects with `ConnectionLostError`. */
  disconnectWith(reason: string): void;
}

export type PooledSenderClass = new (authKey: unknown, options: SenderOptions, owner: SenderOwner) => PooledSender;

/** Requests of the protocol itself: they are no API requests. Source: core.telegram.org/mtproto/service_messages. */
const SERVICE: ReadonlySet<string> = new Set(["Ping", "PingDelayDisconnect", "GetFutureSalts", "MsgsAck", "HttpWait"]);
/** More of them, which a library never sends by itself. Inside a wrapper none would be one any more. */
const UNWRAPPED: ReadonlySet<string> = new Set([...SERVICE, "RpcDropAnswer", "DestroySession", "DestroyAuthKey"]);
/** The most bytes that a packet takes (tl/core/MessageContainer.js of both libraries), without the heads. */
const LONGEST_REQUEST_BYTES = 1_044_456 - 64;
/** `future_salts`, which is an answer by itself. */
const FUTURE_SALTS = 0xae500895;

/**
 * Makes the sender class. Every request of a library ends in a sender's `send` or `addStateToQueue`, also those that pass
 * by `invoke` (uploads, downloads, housekeeping), so this is where all of them meet the gate.
 */
export function senderClass(library: Library): PooledSenderClass {
  const Reader = nativeReaderClass(library);
  const { differences } = library;
  const withoutUpdates = prefixOf(library.Api.InvokeWithoutUpdates);
  return class Sender extends library.MTProtoSender implements PooledSender {
    isLost = false;
    closed: Promise<unknown> = Promise.resolve();
    readonly isHomeDc: boolean;
    readonly #owner: SenderOwner;
    /** What is under way, and as what the gate knows it: requests of the connection itself are none of its matter. Bound: the requests that are not answered yet. */
    readonly #waiting = new Map<RequestState, OutgoingRequest | undefined>();
    /** What was queued, by the bytes that packets are made of. */
    readonly #states = new WeakMap<Buffer, RequestState>();
    readonly #packets: Packets;
    #transportError: number | undefined;
    /** Resolves once everything that came together with a refusal has been taken in; `undefined` when nothing has. */
    #refusals: Promise<void> | undefined;

    constructor(authKey: unknown, options: SenderOptions, owner: SenderOwner) {
      super(authKey, options);
      this.#owner = owner;
      this.isHomeDc = owner.isHomeDc;
      this.#packets = patchCodec(library, Reader, this._state);
      differences.onBeforePack(this, () => this.#dropWhatIsHeldBack());
      this.#readAnswers();
      hideSecrets(this, "sender");
      hideFields(this);
    }

    transmit(request: TlRequest, outgoing: OutgoingRequest): InFlightRequest {
      const state = this.#stateOf(request);
      if (state instanceof Error) return { answer: Promise.reject(state), abandon: () => {} };
      const isWrapped = !this.#owner.receivesUpdates && !UNWRAPPED.has(request.className);
      if (isWrapped) state.data = Buffer.concat([withoutUpdates, state.data]);
      const answer = this.#enqueue(state, outgoing);
      answer.catch((error: unknown) => this.#loseIfUnfit(error));
      return { answer, abandon: () => this.#forget(state) };
    }

    transmitService(request: TlRequest): Promise<unknown> {
      const state = this.#stateOf(request);
      return state instanceof Error ? Promise.reject(state) : this.#enqueue(state, undefined);
    }

    watch(connection: LibraryConnection): void {
      const receive = connection.recv.bind(connection);
      connection.recv = async () => {
        try {
          const body = await receive();
          if (body !== undefined) this.#noteTransportError(body);
          return body;
        } catch (error) {
          this.#noteTransportError(Reflect.get(Object(error), "payload"));
          throw error;
        }
      };
      const write = connection._send.bind(connection);
      connection._send = async (packet) => {
        await this.#refusals;
        const left = this.#withoutWhatIsHeldBack(packet);
        if (left !== undefined) await write(left);
      };
    }

    override send(request: TlRequest): Promise<unknown> {
      if (SERVICE.has(request.className) || isConnectRequest(request)) return this.transmitService(request);
      const outgoing = describeRequest(request, this.#owner.isHomeDc);
      return this.#owner.gate.call(outgoing, undefined, () => this.transmit(request, outgoing));
    }

    override addStateToQueue(state: RequestState): void {
      this.send(state.request).then(state.resolve, state.reject);
    }

    disconnectWith(reason: string): void {
      if (this.isLost) return;
      this.isLost = true;
      const queued = [...differences.queue(this)];
      differences.stop(this);
      for (const state of new Set([...this.#waiting.keys(), ...this._pendingState.values(), ...queued])) {
        // Acknowledgements are queued too, and nobody listens to theirs.
        state?.promise?.catch(() => {});
        state?.reject(new ConnectionLostError(reason, state.msgId !== undefined));
      }
      this._pendingState.clear();
      this.closed = (async () => this._connection?.disconnect())().catch(() => {});
      this.#owner.lost(reason);
    }

    override async disconnect(): Promise<void> {
      this.disconnectWith("closed");
    }

    /** A library reconnects with everything pending, also into a cooldown; the pool decides that itself. */
    override reconnect(): void {
      const code = this.#transportError;
      this.disconnectWith(
        code === undefined ? "the connection was lost" : `Telegram closed the connection (transport error ${code})`,
      );
    }

    override _handleBadAuthKey(shouldSkipForMain = false): void {
      if (!shouldSkipForMain) this.disconnectWith("Telegram does not know the auth key (transport error -404)");
    }

    #stateOf(request: TlRequest): RequestState | ConnectionLostError {
      if (!this._userConnected) return new ConnectionLostError("the connection was lost", false);
      const state = new library.RequestState(request);
      // GramJS stops sending for good when it comes to one that is too long.
      if (state.data.length <= LONGEST_REQUEST_BYTES) return state;
      throw new OptionsError(
        `${request.className} is ${state.data.length} bytes long, and Telegram takes at most ${LONGEST_REQUEST_BYTES}: send less at once.`,
      );
    }

    #enqueue(state: RequestState, outgoing: OutgoingRequest | undefined): Promise<unknown> {
      this.#waiting.set(state, outgoing);
      this.#states.set(state.data, state);
      const answer = Promise.resolve(state.promise).finally(() => this.#waiting.delete(state));
      super.addStateToQueue(state);
      return answer;
    }

    #forget(state: RequestState): void {
      this.#waiting.delete(state);
      if (state.msgId !== undefined) this._pendingState.delete(state.msgId);
      const queue = differences.queue(this);
      const place = queue.indexOf(state);
      if (place >= 0) queue.splice(place, 1);
      state.reject(new ConnectionLostError("nobody waits for the answer", state.msgId !== undefined));
    }

    /**
     * Some answers are about the connection: that it was not set up, or that another data center has lost what home had
     * exported to it. The next request makes a new one.
     */
    #loseIfUnfit(error: unknown): void {
      if (!(error instanceof library.errors.RPCError)) return;
      const { code, kind, scope, provesNotExecuted } = classifyTelegramError(error);
      if (kind === "dead" && !this.isHomeDc)
        this.disconnectWith("the data center does not know the exported authorisation");
      if (kind === "retry" && scope === "session" && provesNotExecuted)
        this.disconnectWith(`Telegram answered ${code}`);
    }

    /** The last look before the bytes are made: a wait may have become known since the request was queued. */
    #dropWhatIsHeldBack(): void {
      const queue = differences.queue(this);
      for (let place = queue.length - 1; place >= 0; place -= 1) {
        const state = queue[place];
        const outgoing = state === undefined ? undefined : this.#waiting.get(state);
        if (outgoing === undefined || !this.#owner.gate.isBlocked(outgoing)) continue;
        queue.splice(place, 1);
        state?.reject(new HeldBackError());
      }
    }

    /** The same between packing and writing: what was read meanwhile may have been a refusal. */
    #withoutWhatIsHeldBack(packet: Buffer): Buffer | undefined {
      return this.#packets.without(packet, (data) => {
        const state = this.#states.get(data);
        const outgoing = state && this.#waiting.get(state);
        if (state === undefined || outgoing === undefined || !this.#owner.gate.isBlocked(outgoing)) return false;
        state.reject(new HeldBackError());
        // teleproto notes it as sent after this.
        setImmediate(() => this._pendingState.delete(state.msgId));
        this._pendingState.delete(state.msgId);
        return true;
      });
    }

    /** What is written in this turn could acknowledge the refusal, whose consequences take the turn's rest to be drawn. */
    #noteRefusal(): void {
      this.#refusals ??= new Promise((resolve) => {
        setImmediate(() => {
          this.#refusals = undefined;
          resolve();
        });
      });
    }

    /**
     * An answer goes to its request and nowhere else. GramJS throws an answered error once more, out of the container
     * that holds the answers behind it; teleproto does so when nobody waits for the error any more.
     */
    #readAnswers(): void {
      const handlers = differences.handlers(this);
      const kind = String(library.RPCResult.CONSTRUCTOR_ID);
      const read = handlers[kind];
      // GramJS looks for its request by the id of the answer.
      handlers[String(FUTURE_SALTS)] = ({ obj }) => {
        const state = this._pendingState.get(obj.reqMsgId);
        this._pendingState.delete(obj.reqMsgId);
        state?.resolve(obj);
      };
      handlers[kind] = (message) => {
        const { reqMsgId, body, error, unreadable } = message.obj;
        const state = this._pendingState.get(reqMsgId);
        if (state === undefined) return;
        if (error !== undefined) this.#noteRefusal();
        try {
          if (error !== undefined) return void read?.(message);
          this._pendingState.delete(reqMsgId);
          if (body === undefined) throw unreadable;
          state.resolve(state.request.readResult(new Reader(body)));
        } catch (failure) {
          // GramJS throws an error once more that the request was rejected with; a second rejection changes nothing.
          const what = `The answer to ${state.request.className} could not be read`;
          state.reject(new UnreadableAnswerError(`${what}: ${messageOf(failure)}`, { cause: failure }));
        }
      };
    }

    /** Four bytes instead of a message are a transport error. Source: core.telegram.org/mtproto/mtproto-transports. */
    #noteTransportError(body: unknown): void {
      if (Buffer.isBuffer(body) && body.length >= 4 && body.length < 8) this.#transportError = body.readInt32LE(0);
    }
  };
}

/** The bytes that go before a request to wrap it: its answer is read as if they were not there. */
function prefixOf({ CONSTRUCTOR_ID }: { readonly CONSTRUCTOR_ID: number }): Buffer {
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32LE(CONSTRUCTOR_ID, 0);
  return prefix;
}

/** What is sent to set a connection up: initConnection, with the query that has to go along. */
function isConnectRequest(request: TlRequest): boolean {
  if (request.className !== "InvokeWithLayer") return false;
  return (request.query as { readonly className?: string } | undefined)?.className === "InitConnection";
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
