import type { Clock } from "../../src/common/clock.js";
import {
  type ClientAdapter,
  type ClientHandle,
  ConnectionLostError,
  type CreateClientOptions,
  type FloodWait,
  HeldBackError,
  type InFlightRequest,
  type OutgoingRequest,
} from "../../src/connections/client-adapter.js";
import type { LeaseScope } from "../../src/connections/lease-scope.js";
import type { PeerReference } from "../../src/telegram/peers.js";
import { authKeyFingerprint } from "../../src/telegram/session-string.js";
import { FakeRpcError } from "./telegram-errors.js";

/** One request that reached the fake server. */
export interface FakeCall {
  readonly id: string;
  readonly method: string;
  readonly peer: string | undefined;
  /** On the monotonic clock. */
  readonly at: number;
  /** Which of all calls it is, from 1. */
  readonly number: number;
}

export interface CallOptions {
  readonly peer?: string;
  readonly hasRandomId?: boolean;
  readonly isOrdered?: boolean;
  readonly isHomeDc?: boolean;
}

/** The methods the tests use: one that is harmless to repeat and one that is not. */
export const READ = "users.GetFullUser";
export const WRITE = "messages.SendMessage";
/** What a pool asks by itself, of sessions that may be good again. */
export const PROBE = "updates.GetState";

/** What a test's work holds: a client that can only make calls. */
export class FakeClient {
  readonly #handle: FakeHandle;
  readonly #scope: LeaseScope | undefined;

  constructor(handle: FakeHandle, scope?: LeaseScope) {
    this.#handle = handle;
    this.#scope = scope;
  }

  /** Sends one request; resolves what `FakeTelegram.onCall` returns. */
  call(method: string, options: CallOptions = {}): Promise<unknown> {
    return this.#handle.call(method, options, this.#scope);
  }
}

/** One fake client of one session. */
export class FakeHandle implements ClientHandle<FakeClient> {
  readonly client: FakeClient;
  readonly request: CreateClientOptions;
  readonly fingerprint: string;
  isConnected = false;
  isClosed = false;
  readonly #telegram: FakeTelegram;
  readonly #unanswered = new Set<(error: Error) => void>();

  constructor(telegram: FakeTelegram, request: CreateClientOptions) {
    this.client = new FakeClient(this);
    this.request = request;
    this.fingerprint = authKeyFingerprint(request.session.authKey);
    this.#telegram = telegram;
  }

  async connect(signal: AbortSignal): Promise<void> {
    this.#telegram.connects.push({ id: this.request.id, at: this.#telegram.clock.monotonic() });
    await this.#telegram.onConnect(this.request.id, signal);
    signal.throwIfAborted();
    if (this.isClosed) throw new Error("closed while it connected");
    this.#telegram.connected(this);
    this.isConnected = true;
  }

  guard(scope: LeaseScope): FakeClient {
    return new FakeClient(this, scope);
  }

  floodError({ seconds, isSlowMode }: FloodWait): Error {
    return new FakeRpcError(420, `${isSlowMode ? "SLOWMODE" : "FLOOD"}_WAIT_${seconds}`);
  }

  async probe(): Promise<void> {
    await this.call(PROBE, {}, undefined);
  }

  knows(peer: PeerReference): boolean | undefined {
    return this.isConnected ? this.#telegram.onKnows(this.request.id, peer) : undefined;
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.#disconnect();
    await this.#telegram.onClose(this.request.id);
  }

  /** The connection breaks. */
  drop(reason = "the socket was closed"): void {
    if (!this.isConnected) return;
    this.#disconnect();
    this.request.onDisconnect(reason);
  }

  async call(method: string, options: CallOptions, scope: LeaseScope | undefined): Promise<unknown> {
    const { peer, hasRandomId = false, isOrdered = false, isHomeDc = true } = options;
    const outgoing: OutgoingRequest = { method, peer, hasRandomId, isOrdered, isHomeDc };
    return this.request.gate.call(outgoing, scope, () => this.#transmit(outgoing));
  }

  #transmit(outgoing: OutgoingRequest): InFlightRequest {
    let isAbandoned = false;
    const answer = new Promise<unknown>((resolve, reject) => {
      if (!this.isConnected) return reject(new ConnectionLostError("not connected", false));
      if (this.request.gate.isBlocked(outgoing)) return reject(new HeldBackError("held back"));
      const lost = (error: Error): void => reject(error);
      this.#unanswered.add(lost);
      const done = (finish: () => void) => () => {
        this.#unanswered.delete(lost);
        if (!isAbandoned) finish();
      };
      const answered = this.#telegram.receive(this.request.id, outgoing);
      answered.then(
        (value) => done(() => resolve(value))(),
        (error: unknown) => done(() => reject(error))(),
      );
    });
    return {
      answer,
      abandon: () => {
        isAbandoned = true;
      },
    };
  }

  #disconnect(): void {
    if (this.isConnected) this.#telegram.disconnected(this);
    this.isConnected = false;
    for (const lost of this.#unanswered) lost(new ConnectionLostError("the connection was lost", true));
    this.#unanswered.clear();
  }
}

/** A client adapter and the server behind it, played by the test. */
export class FakeTelegram implements ClientAdapter<FakeClient> {
  readonly clock: Clock;
  /** Answers a request: what it returns, or throws. */
  onCall: (call: FakeCall) => unknown = ({ id, method }) => `${method} by ${id}`;
  /** Throws, or does not settle, when a session cannot connect. */
  onConnect: (id: string, signal: AbortSignal) => unknown = () => {};
  onClose: (id: string) => unknown = () => {};
  /** Whether the cache of a connected client holds the peer; `undefined` when it cannot tell. */
  onKnows: (id: string, peer: PeerReference) => boolean | undefined = () => undefined;
  readonly calls: FakeCall[] = [];
  readonly connects: { readonly id: string; readonly at: number }[] = [];
  readonly handles: FakeHandle[] = [];
  /** What no pool may ever do. */
  readonly violations: string[] = [];
  readonly #connected = new Map<string, FakeHandle>();

  constructor(clock: Clock) {
    this.clock = clock;
  }

  async open(): Promise<void> {}

  create(request: CreateClientOptions): FakeHandle {
    const handle = new FakeHandle(this, request);
    this.handles.push(handle);
    return handle;
  }

  invoke(client: FakeClient, request: unknown): Promise<unknown> {
    return client.call((request as { readonly className: string }).className);
  }

  /** The newest client of a session. */
  handle(id: string): FakeHandle {
    const handle = this.handles.findLast((made) => made.request.id === id);
    if (handle === undefined) throw new Error(`No client was made for "${id}".`);
    return handle;
  }

  /** Ids of the sessions that are connected. */
  get online(): readonly string[] {
    return Array.from(this.#connected.values(), (handle) => handle.request.id);
  }

  async receive(id: string, { method, peer }: OutgoingRequest): Promise<unknown> {
    const call = { id, method, peer, at: this.clock.monotonic(), number: this.calls.length + 1 };
    this.calls.push(call);
    return await this.onCall(call);
  }

  connected(handle: FakeHandle): void {
    if (this.#connected.has(handle.fingerprint)) this.violations.push(`two clients of one key: ${handle.request.id}`);
    this.#connected.set(handle.fingerprint, handle);
  }

  disconnected(handle: FakeHandle): void {
    if (this.#connected.get(handle.fingerprint) === handle) this.#connected.delete(handle.fingerprint);
  }
}

/** A fake of which the pool can ask something by itself. */
export class AskableTelegram extends FakeTelegram {
  createRequest(method: string): unknown {
    return { className: method };
  }
}
