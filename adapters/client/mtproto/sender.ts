import {
  ConnectionLostError,
  HeldBackError,
  type InFlightRequest,
  type OutgoingRequest,
  type RequestGate,
  UnreadableAnswerError,
} from "../../../src/connections/client-adapter.js";
import { OptionsError } from "../../../src/errors.js";
import { peerOf } from "../../../src/telegram/peers.js";
import { hasRandomId, innermost, type TelegramRequest } from "../../../src/telegram/requests.js";
import { classifyTelegramError } from "../../../src/telegram/verdicts.js";
import type {
  Library,
  LibraryConnection,
  ReaderClass,
  RequestState,
  RpcResultMessage,
  SenderBase,
  SenderOptions,
  TlRequest,
} from "./library.js";
import { nativeReaderClass, PacketCodec } from "./packet-codec.js";
import { hideFields, hideSecrets } from "./secrets.js";

/** The client that a sender works for. */
export interface SenderOwner {
  readonly gate: RequestGate;
  /** Whether it talks to the account's own data center. */
  readonly isHomeDc: boolean;
  /** Whether its requests make Telegram send it updates. */
  readonly receivesUpdates: boolean;
  /** The connection is gone. Called once. */
  lost(reason: string): void;
}

/** Dependencies of the senders of one adapter. */
export interface SenderClasses {
  readonly library: Library;
  readonly Sender: LibrarySenderClass;
  readonly Reader: ReaderClass;
}

/** Makes the classes, once per adapter. */
export function createSenderClasses(library: Library): SenderClasses {
  return { library, Sender: librarySenderClass(library), Reader: nativeReaderClass(library) };
}

type LibrarySenderClass = new (authKey: unknown, options: SenderOptions, pooled: PooledSender) => SenderBase;

/** The library's sender, with everything that it sends or decides by itself handed to its {@link PooledSender}. */
function librarySenderClass({ MTProtoSender }: Library): LibrarySenderClass {
  return class Sender extends MTProtoSender {
    readonly #pooled: PooledSender;

    constructor(authKey: unknown, options: SenderOptions, pooled: PooledSender) {
      super(authKey, options);
      this.#pooled = pooled;
    }

    override send(request: TlRequest): Promise<unknown> {
      return this.#pooled.send(request);
    }

    override addStateToQueue(state: RequestState): void {
      this.#pooled.send(state.request).then(state.resolve, state.reject);
    }

    override async disconnect(): Promise<void> {
      this.#pooled.disconnectWith("closed");
    }

    /** A library reconnects with everything pending, even into a cooldown; reconnecting is up to the pool. */
    override reconnect(): void {
      this.#pooled.disconnectWith(this.#pooled.lossReason);
    }

    override _handleBadAuthKey(shouldSkipForMain = false): void {
      if (!shouldSkipForMain) this.#pooled.disconnectWith("Telegram does not know the auth key (transport error -404)");
    }
  };
}

/** Requests of the protocol itself: they are no API requests. Source: core.telegram.org/mtproto/service_messages. */
const SERVICE: ReadonlySet<string> = new Set(["Ping", "PingDelayDisconnect", "GetFutureSalts", "MsgsAck", "HttpWait"]);
/** Further ones, which a library never sends by itself. Inside a wrapper they would be API requests. */
const UNWRAPPED: ReadonlySet<string> = new Set([...SERVICE, "RpcDropAnswer", "DestroySession", "DestroyAuthKey"]);
/** The most bytes that a packet takes (tl/core/MessageContainer.js of both libraries), without the heads. */
const MAX_REQUEST_BYTES = 1_044_456 - 64;
/** `future_salts`, which is an answer by itself. */
const FUTURE_SALTS = 0xae500895;

const bySender = new WeakMap<object, PooledSender>();

/**
 * One connection: a library's sender that never reconnects, never re-sends and passes no request by the gate. Every
 * request of a library ends in its sender's `send` or `addStateToQueue`, also uploads, downloads and housekeeping, which
 * pass by `invoke`; so this is where all of them meet the gate.
 */
export class PooledSender {
  /** The sender as the library knows it. */
  readonly base: SenderBase;
  /** Whether it talks to the account's own data center. */
  readonly isHomeDc: boolean;
  isLost = false;
  /** Once it is lost: resolves when its socket is closed. */
  closed: Promise<unknown> = Promise.resolve();
  readonly #library: Library;
  readonly #Reader: ReaderClass;
  readonly #owner: SenderOwner;
  readonly #codec: PacketCodec;
  /** Bounded by the requests without an answer. `undefined` for those of the connection itself, which the gate does not see. */
  readonly #unanswered = new Map<RequestState, OutgoingRequest | undefined>();
  /** Queued requests, by their serialized form. */
  readonly #states = new WeakMap<Buffer, RequestState>();
  /** The library's own handler of answers, which makes the errors. */
  #readError: ((message: RpcResultMessage) => unknown) | undefined;
  readonly #isHeldBack = this.#holdBack.bind(this);
  /** Before a serialized request: Telegram sends no updates because of it. */
  readonly #withoutUpdates: Buffer;
  #transportError: number | undefined;
  /** Resolves once everything that was received together with a refusal is processed; `undefined` when there was none. */
  #refusals: Promise<void> | undefined;

  constructor(
    { library, Sender, Reader }: SenderClasses,
    authKey: unknown,
    options: SenderOptions,
    owner: SenderOwner,
  ) {
    this.#library = library;
    this.#Reader = Reader;
    this.#owner = owner;
    this.isHomeDc = owner.isHomeDc;
    this.#withoutUpdates = constructorBytes(library.Api.InvokeWithoutUpdates);
    this.base = new Sender(authKey, options, this);
    bySender.set(this.base, this);
    this.#codec = new PacketCodec(library, Reader, this.base._state);
    library.differences.onBeforePack(this.base, this.#dropHeldBack.bind(this));
    this.#replaceHandlers();
    hideSecrets(this.base, "sender");
    hideFields(this.base);
  }

  /** The pooled sender of a library's sender. */
  static of(base: object): PooledSender | undefined {
    return bySender.get(base);
  }

  get dcId(): number {
    return this.base.dcId;
  }

  /** Why a connection is lost that the library wants to replace. */
  get lossReason(): string {
    const code = this.#transportError;
    return code === undefined ? "the connection was lost" : `Telegram closed the connection (transport error ${code})`;
  }

  /** Sends a request of the library's own: of the connection at once, any other one through the gate. */
  send(request: TlRequest): Promise<unknown> {
    if (SERVICE.has(request.className) || isConnectRequest(request)) return this.transmitService(request);
    const outgoing = describeRequest(request, this.isHomeDc);
    return this.#owner.gate.call(outgoing, undefined, () => this.transmit(request, outgoing));
  }

  /** Puts a request on the wire, unless the gate holds it back at the last moment. */
  transmit(request: TlRequest, outgoing: OutgoingRequest): InFlightRequest {
    const state = this.#stateOf(request);
    if (state instanceof Error) return { answer: Promise.reject(state), abandon: () => {} };
    const isWrapped = !this.#owner.receivesUpdates && !UNWRAPPED.has(request.className);
    if (isWrapped) state.data = Buffer.concat([this.#withoutUpdates, state.data]);
    const answer = this.#enqueue(state, outgoing);
    answer.catch((error: unknown) => this.#disconnectIfUnfit(error));
    return { answer, abandon: () => this.#abandon(state) };
  }

  /** Puts a request of the connection itself on the wire: no gate, no deadline. */
  transmitService(request: TlRequest): Promise<unknown> {
    const state = this.#stateOf(request);
    return state instanceof Error ? Promise.reject(state) : this.#enqueue(state, undefined);
  }

  /** Takes part in what is read from and written to the connection. To be called before `connect`. */
  watch(connection: LibraryConnection): void {
    const receive = connection.recv.bind(connection);
    connection.recv = async () => {
      try {
        const body = await receive();
        if (body !== undefined && body.length < 8) this.#noteTransportError(body);
        return body;
      } catch (error) {
        this.#noteTransportError(Reflect.get(Object(error), "payload"));
        throw error;
      }
    };
    const write = connection._send.bind(connection);
    connection._send = async (packet) => {
      await this.#refusals;
      // Between packing and writing a refusal may have been read.
      const left = this.#codec.without(packet, this.#isHeldBack);
      if (left !== undefined) await write(left);
    };
  }

  /** Ends the connection: every request on it rejects with `ConnectionLostError`. */
  disconnectWith(reason: string): void {
    if (this.isLost) return;
    this.isLost = true;
    const { base } = this;
    const { differences } = this.#library;
    const queued = [...differences.queue(base)];
    differences.stop(base);
    for (const state of new Set([...this.#unanswered.keys(), ...base._pendingState.values(), ...queued])) {
      // Acknowledgements are queued too, and have no listener for their rejection.
      state?.promise?.catch(() => {});
      state?.reject(new ConnectionLostError(reason, state.msgId !== undefined));
    }
    base._pendingState.clear();
    this.closed = (async () => base._connection?.disconnect())().catch(() => {});
    this.#owner.lost(reason);
  }

  #stateOf(request: TlRequest): RequestState | ConnectionLostError {
    if (!this.base._userConnected) return new ConnectionLostError("the connection was lost", false);
    const state = new this.#library.RequestState(request);
    // GramJS stops sending for good at a request that is too long.
    if (state.data.length <= MAX_REQUEST_BYTES) return state;
    throw new OptionsError(
      `${request.className} is ${state.data.length} bytes long, and Telegram takes at most ${MAX_REQUEST_BYTES}: send less at once.`,
    );
  }

  #enqueue(state: RequestState, outgoing: OutgoingRequest | undefined): Promise<unknown> {
    this.#unanswered.set(state, outgoing);
    this.#states.set(state.data, state);
    const answer = Promise.resolve(state.promise).finally(() => this.#unanswered.delete(state));
    // The sender's own method would lead back to the gate.
    this.#library.MTProtoSender.prototype.addStateToQueue.call(this.base, state);
    return answer;
  }

  #abandon(state: RequestState): void {
    this.#unanswered.delete(state);
    if (state.msgId !== undefined) this.base._pendingState.delete(state.msgId);
    const queue = this.#library.differences.queue(this.base);
    const index = queue.indexOf(state);
    if (index >= 0) queue.splice(index, 1);
    state.reject(new ConnectionLostError("the request was abandoned", state.msgId !== undefined));
  }

  /**
   * Some answers concern the connection: it was not set up, or another data center has lost the authorization that home
   * exported to it. The next request opens a new one.
   */
  #disconnectIfUnfit(error: unknown): void {
    if (!(error instanceof this.#library.errors.RPCError)) return;
    const { code, kind, scope, provesNotExecuted } = classifyTelegramError(error);
    if (kind === "dead" && !this.isHomeDc) {
      this.disconnectWith("the data center does not know the exported authorization");
    }
    if (kind === "retry" && scope === "session" && provesNotExecuted) this.disconnectWith(`Telegram answered ${code}`);
  }

  /** The last check before packing: a wait may have become known since the request was queued. */
  #dropHeldBack(): void {
    const queue = this.#library.differences.queue(this.base);
    for (let index = queue.length - 1; index >= 0; index -= 1) {
      const state = queue[index];
      const outgoing = state === undefined ? undefined : this.#unanswered.get(state);
      if (outgoing === undefined || !this.#owner.gate.isBlocked(outgoing)) continue;
      queue.splice(index, 1);
      state?.reject(new HeldBackError());
    }
  }

  /** The last check before writing: rejects the request when it may not be sent any more. */
  #holdBack(data: Buffer): boolean {
    const state = this.#states.get(data);
    const outgoing = state && this.#unanswered.get(state);
    if (state === undefined || outgoing === undefined || !this.#owner.gate.isBlocked(outgoing)) return false;
    state.reject(new HeldBackError());
    // teleproto records it as sent after this.
    setImmediate(() => this.base._pendingState.delete(state.msgId));
    this.base._pendingState.delete(state.msgId);
    return true;
  }

  /** A write in this turn of the event loop could acknowledge the refusal, whose effects take the rest of the turn. */
  #noteRefusal(): void {
    this.#refusals ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#refusals = undefined;
        resolve();
      });
    });
  }

  /**
   * Delivers an answer to its request alone. GramJS throws an answered error once more, out of the container with the
   * answers behind it; teleproto does so for an error that no longer has a listener.
   */
  #replaceHandlers(): void {
    const handlers = this.#library.differences.handlers(this.base);
    const kind = String(this.#library.RPCResult.CONSTRUCTOR_ID);
    this.#readError = handlers[kind];
    // GramJS looks for its request by the id of the answer.
    handlers[String(FUTURE_SALTS)] = ({ obj }) => {
      const state = this.base._pendingState.get(obj.reqMsgId);
      this.base._pendingState.delete(obj.reqMsgId);
      state?.resolve(obj);
    };
    handlers[kind] = this.#readAnswer.bind(this);
  }

  #readAnswer(message: RpcResultMessage): void {
    const { reqMsgId, body, error, unreadable } = message.obj;
    const pending = this.base._pendingState;
    const state = pending.get(reqMsgId);
    if (state === undefined) return;
    if (error !== undefined) this.#noteRefusal();
    try {
      if (error !== undefined) return void this.#readError?.(message);
      pending.delete(reqMsgId);
      if (body === undefined) throw unreadable;
      state.resolve(state.request.readResult(new this.#Reader(body)));
    } catch (failure) {
      // GramJS throws the error that the request was rejected with; a second rejection changes nothing.
      const text = `The answer to ${state.request.className} could not be read`;
      state.reject(new UnreadableAnswerError(`${text}: ${messageOf(failure)}`, { cause: failure }));
    }
  }

  /** Four bytes instead of a message are a transport error. Source: core.telegram.org/mtproto/mtproto-transports. */
  #noteTransportError(body: unknown): void {
    if (Buffer.isBuffer(body) && body.length >= 4 && body.length < 8) this.#transportError = body.readInt32LE(0);
  }
}

/** The bytes before a request that wrap it: its answer is read as if they were not there. */
function constructorBytes({ CONSTRUCTOR_ID }: { readonly CONSTRUCTOR_ID: number }): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(CONSTRUCTOR_ID, 0);
  return bytes;
}

/** Whether the request sets a connection up: initConnection, with the query that goes along. */
function isConnectRequest(request: TlRequest): boolean {
  if (request.className !== "InvokeWithLayer") return false;
  return (request.query as { readonly className?: string } | undefined)?.className === "InitConnection";
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/**
 * Requests that a library chains by invokeAfterMsg when they are queued together. After a flooded one it sends the others
 * again at once, so they have to be sent one by one. Source: GramJS's extensions/MessagePacker.js, 2.26.22; teleproto's
 * network/MTProtoSender.js, 1.229.0.
 */
const ORDERED: ReadonlySet<string> = new Set([
  "messages.SendMessage",
  "messages.SendMedia",
  "messages.SendMultiMedia",
  "messages.ForwardMessages",
  "messages.SendInlineBotResult",
]);

/** Describes a request with resolved entities for the pool. */
export function describeRequest(request: TelegramRequest, isHomeDc: boolean): OutgoingRequest {
  const query = innermost(request);
  return {
    method: query.className,
    peer: peerOf(query),
    hasRandomId: hasRandomId(query),
    isOrdered: ORDERED.has(request.className),
    isHomeDc,
  };
}
