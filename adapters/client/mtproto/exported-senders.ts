import type { Clock } from "../../../src/common/clock.js";
import { captureContext, inOwnContext, type RunInContext } from "../../../src/common/own-context.js";
import {
  ConnectionLostError,
  type CreateClientOptions,
  type InFlightRequest,
  type OutgoingRequest,
  type RequestGate,
} from "../../../src/connections/client-adapter.js";
import { ConnectError } from "../../../src/errors.js";
import type { Dialer } from "./dialer.js";
import type { ClientInternals, DcAddress, ExportedAuthorization, Library, TlRequest } from "./library.js";
import { describeRequest, type PooledSender } from "./sender.js";

/** The client whose authorization is exported. */
export interface HomeClient {
  readonly internals: ClientInternals;
  /** The sender to the account's own data center. Throws while the client is not connected. */
  main(): PooledSender;
  /** A failure without secrets; Telegram's own answer unchanged. */
  sanitize(error: unknown): Error;
}

/**
 * Senders to data centers other than the account's own, where files may be: each connected once, authorized by an export
 * from home, forgotten when lost. GramJS's own method calls itself again without a pause when any step fails, and blocks
 * the process for good; teleproto's opens up to eight more connections with keys of their own.
 */
export class ExportedSenders {
  readonly #library: Library;
  readonly #dialer: Dialer;
  readonly #home: HomeClient;
  readonly #id: string;
  readonly #gate: RequestGate;
  readonly #clock: Clock;
  readonly #connectTimeoutMs: number;
  /** Bounded by the data centers. */
  readonly #senders = new Map<number, Promise<PooledSender>>();
  /** Bounded by Telegram's data centers. */
  readonly #open = new Map<number, PooledSender>();
  readonly #abort = new AbortController();

  constructor(
    library: Library,
    dialer: Dialer,
    home: HomeClient,
    { id, gate, clock, connectTimeoutMs }: CreateClientOptions,
  ) {
    this.#library = library;
    this.#dialer = dialer;
    this.#home = home;
    this.#id = id;
    this.#gate = gate;
    this.#clock = clock;
    this.#connectTimeoutMs = connectTimeoutMs;
  }

  /** The sender for a data center. Rejects with `ConnectError`, or with Telegram's refusal of the export. */
  get(dcId: number): Promise<PooledSender> {
    const known = this.#senders.get(dcId);
    if (known !== undefined) return known;
    const inCaller = captureContext();
    const opening = inOwnContext(() => this.#openTo(dcId, inCaller));
    this.#senders.set(dcId, opening);
    opening.catch(() => this.#forget(dcId, opening));
    return opening;
  }

  /** The sender in use for the same data center: the given one may have been lost and replaced. */
  current(sender: PooledSender): PooledSender {
    return this.#open.get(sender.dcId) ?? sender;
  }

  /** Sends a request to a data center, over the open connection or a new one. */
  transmit(dcId: number, request: TlRequest, outgoing: OutgoingRequest): InFlightRequest {
    const open = this.#open.get(dcId);
    if (open?.isLost === false) return open.transmit(request, outgoing);
    let transmission: InFlightRequest | undefined;
    let isAbandoned = false;
    const send = (sender: PooledSender): Promise<unknown> => {
      if (isAbandoned) throw new ConnectionLostError("the request was abandoned", false);
      transmission = sender.transmit(request, outgoing);
      return transmission.answer;
    };
    return {
      answer: this.get(dcId).then(send),
      abandon: () => {
        isAbandoned = true;
        transmission?.abandon();
      },
    };
  }

  /** Resolves when all of them are closed. */
  async close(): Promise<void> {
    this.#abort.abort(new ConnectError("The client was closed.", { sessionId: this.#id }));
    const closing = [...this.#senders.values()].map(async (opening) => {
      const sender = await opening;
      sender.disconnectWith("the client was closed");
      await sender.closed;
    });
    this.#senders.clear();
    await Promise.allSettled(closing);
  }

  async #openTo(dcId: number, inCaller: RunInContext): Promise<PooledSender> {
    const { _config: config, session } = this.#home.internals;
    const center = centerOf(config?.dcOptions ?? [], dcId, session.serverAddress.includes(":"));
    if (center === undefined) {
      throw new ConnectError(`Telegram names no data center ${dcId}.`, { sessionId: this.#id });
    }
    const abort = new AbortController();
    const timer = this.#clock.setTimer(this.#connectTimeoutMs, () => abort.abort(this.#timeoutError(dcId)));
    const signal = AbortSignal.any([abort.signal, this.#abort.signal]);
    try {
      return await Promise.race([this.#connect(center, signal, inCaller), rejection(signal)]);
    } catch (error) {
      throw this.#failure(dcId, error);
    } finally {
      timer.cancel();
    }
  }

  /** Exports at home first: what the gate refuses, because the session is cooling, opens no connection either. */
  async #connect(center: DcAddress, signal: AbortSignal, inCaller: RunInContext): Promise<PooledSender> {
    const { id, bytes } = await inCaller(() => this.#export(center.id));
    const lost = (sender: PooledSender): void => {
      // It may have been replaced already.
      if (this.#open.get(center.id) !== sender) return;
      this.#senders.delete(center.id);
      this.#open.delete(center.id);
    };
    const destination = { dcId: center.id, address: center.ipAddress, port: center.port, isHomeDc: false, lost };
    const query = new this.#library.Api.auth.ImportAuthorization({ id, bytes });
    const sender = await this.#dialer.open(destination, signal, async (opened) => {
      await opened.transmitService(this.#dialer.initConnection(query));
    });
    this.#open.set(center.id, sender);
    return sender;
  }

  async #export(dcId: number): Promise<ExportedAuthorization> {
    const request = new this.#library.Api.auth.ExportAuthorization({ dcId });
    const outgoing: OutgoingRequest = describeRequest(request, true);
    const exported = await this.#gate.call(outgoing, undefined, () => this.#home.main().transmit(request, outgoing));
    return exported as ExportedAuthorization;
  }

  #timeoutError(dcId: number): ConnectError {
    return new ConnectError(
      `Data center ${dcId} could not be reached within ${this.#connectTimeoutMs} ms (connectTimeoutMs).`,
      { sessionId: this.#id },
    );
  }

  /** Telegram's answer is passed on unchanged; anything else is a failed connect. */
  #failure(dcId: number, error: unknown): Error {
    const cause = this.#home.sanitize(error);
    if (cause instanceof ConnectError || cause instanceof this.#library.errors.RPCError) return cause;
    const message = `Data center ${dcId} could not be reached: ${cause.message}.`;
    return new ConnectError(message, { cause, sessionId: this.#id });
  }

  #forget(dcId: number, opening: Promise<PooledSender>): void {
    if (this.#senders.get(dcId) === opening) this.#senders.delete(dcId);
  }
}

/**
 * The address of a data center: of the address family of home, else of the other one. Addresses for other purposes do not
 * count: those of a CDN, for media alone, and those that require obfuscation or a secret.
 * Source: core.telegram.org/constructor/dcOption.
 */
export function centerOf(options: readonly DcAddress[], dcId: number, usesIpv6: boolean): DcAddress | undefined {
  const usual = options.filter(
    ({ id, cdn, tcpoOnly, mediaOnly, secret }) =>
      id === dcId && cdn !== true && tcpoOnly !== true && mediaOnly !== true && !secret?.length,
  );
  return usual.find(({ ipv6 }) => (ipv6 === true) === usesIpv6) ?? usual[0];
}

function rejection(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
