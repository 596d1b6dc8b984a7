import type { Clock } from "../../../src/common/clock.js";
import { inOwnContext } from "../../../src/common/own-context.js";
import {
  ConnectionLostError,
  type InFlightRequest,
  type OutgoingRequest,
  type RequestGate,
} from "../../../src/connections/client-adapter.js";
import { ConnectError } from "../../../src/errors.js";
import type { Dialer } from "./dialer.js";
import { Heartbeat } from "./heartbeat.js";
import type { DcAddress, Library } from "./library.js";
import { describeRequest } from "./request.js";
import type { PooledSender } from "./sender.js";
import type { ExportedAuthorization, TlRequest } from "./tl.js";

/** What senders to other data centers need of their client. */
export interface ExportedSendersParts {
  readonly library: Library;
  readonly id: string;
  readonly wire: Dialer;
  readonly gate: RequestGate;
  readonly clock: Clock;
  readonly connectTimeoutMs: number;
  /** The data centers that Telegram has named. */
  centers(): readonly DcAddress[];
  /** Whether the account's own data center is reached by IPv6: the host may have nothing else. */
  usesIpv6(): boolean;
  home(): PooledSender;
  /** A failure without secrets; Telegram's own answer as it is. */
  presentable(error: unknown): Error;
}

/**
 * Senders to data centers other than the account's own, where files may be: each connected once, authorised by an
 * export from home, forgotten when lost. GramJS's own way calls itself again without a pause when any step fails, and
 * stops the process for good; teleproto's opens up to eight more connections with keys of their own.
 */
export class ExportedSenders {
  readonly #parts: ExportedSendersParts;
  /** Bound: the data centers. */
  readonly #senders = new Map<number, Promise<PooledSender>>();
  /** Bound: Telegram's data centers. */
  readonly #open = new Map<number, PooledSender>();
  readonly #heartbeats = new Map<PooledSender, Heartbeat>();
  readonly #abort = new AbortController();

  constructor(parts: ExportedSendersParts) {
    this.#parts = parts;
  }

  /** The sender for a data center. Rejects with `ConnectError`, or with Telegram's refusal of the export. */
  get(dcId: number): Promise<PooledSender> {
    const known = this.#senders.get(dcId);
    if (known !== undefined) return known;
    const opening = inOwnContext(() => this.#openTo(dcId));
    this.#senders.set(dcId, opening);
    opening.catch(() => this.#forget(dcId, opening));
    return opening;
  }

  /** The sender in use for the same data center: the one given may have been lost and replaced. */
  current(sender: PooledSender): PooledSender {
    return this.#open.get(sender.dcId) ?? sender;
  }

  /** Puts a request on the wire to a data center: over the connection that there is, else over a new one. */
  transmit(dcId: number, request: TlRequest, outgoing: OutgoingRequest): InFlightRequest {
    const open = this.#open.get(dcId);
    if (open?.isLost === false) return open.transmit(request, outgoing);
    let transmission: InFlightRequest | undefined;
    let isAbandoned = false;
    const send = (sender: PooledSender): Promise<unknown> => {
      if (isAbandoned) throw new ConnectionLostError("nobody waits for the answer", false);
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

  /** Resolves when all of them are gone. */
  async close(): Promise<void> {
    this.#abort.abort(new ConnectError("The client was closed.", { sessionId: this.#parts.id }));
    const closing = [...this.#senders.values()].map(async (opening) => {
      const sender = await opening;
      sender.disconnectWith("the client was closed");
      await sender.closed;
    });
    this.#senders.clear();
    await Promise.allSettled(closing);
  }

  async #openTo(dcId: number): Promise<PooledSender> {
    const { id, clock, connectTimeoutMs } = this.#parts;
    const center = centerOf(this.#parts.centers(), dcId, this.#parts.usesIpv6());
    if (center === undefined) {
      throw new ConnectError(`Telegram names no data center ${dcId}.`, { sessionId: id });
    }
    const abort = new AbortController();
    const timer = clock.setTimer(connectTimeoutMs, () => abort.abort(this.#late(dcId)));
    const signal = AbortSignal.any([abort.signal, this.#abort.signal]);
    try {
      return await Promise.race([this.#connect(center, signal), rejection(signal)]);
    } catch (error) {
      throw this.#failure(dcId, error);
    } finally {
      timer.cancel();
    }
  }

  /** Asks at home first: what may not be asked, because the session rests, opens no connection either. */
  async #connect(center: DcAddress, signal: AbortSignal): Promise<PooledSender> {
    const { library, wire, clock } = this.#parts;
    const { id, bytes } = await this.#export(center.id);
    const lost = (sender: PooledSender): void => {
      this.#heartbeats.get(sender)?.stop();
      this.#heartbeats.delete(sender);
      // There may be another one by now.
      if (this.#open.get(center.id) !== sender) return;
      this.#senders.delete(center.id);
      this.#open.delete(center.id);
    };
    const destination = { dcId: center.id, address: center.ipAddress, port: center.port, isHomeDc: false, lost };
    const sender = await wire.open(destination, signal, async (opened) => {
      await opened.transmitService(wire.initConnection(new library.Api.auth.ImportAuthorization({ id, bytes })));
    });
    this.#heartbeats.set(sender, new Heartbeat(library, clock, sender));
    this.#open.set(center.id, sender);
    return sender;
  }

  async #export(dcId: number): Promise<ExportedAuthorization> {
    const { library, gate } = this.#parts;
    const request = new library.Api.auth.ExportAuthorization({ dcId });
    const outgoing: OutgoingRequest = describeRequest(request, true);
    const exported = await gate.call(outgoing, undefined, () => this.#parts.home().transmit(request, outgoing));
    return exported as ExportedAuthorization;
  }

  #late(dcId: number): ConnectError {
    const { id, connectTimeoutMs } = this.#parts;
    return new ConnectError(
      `Data center ${dcId} could not be reached within ${connectTimeoutMs} ms (connectTimeoutMs).`,
      {
        sessionId: id,
      },
    );
  }

  /** What Telegram answered passes as it is; anything else is a failed connect. */
  #failure(dcId: number, error: unknown): Error {
    const cause = this.#parts.presentable(error);
    if (cause instanceof ConnectError || cause instanceof this.#parts.library.errors.RPCError) return cause;
    return new ConnectError(`Data center ${dcId} could not be reached: ${cause.message}.`, {
      cause,
      sessionId: this.#parts.id,
    });
  }

  #forget(dcId: number, opening: Promise<PooledSender>): void {
    if (this.#senders.get(dcId) === opening) this.#senders.delete(dcId);
  }
}

/**
 * Where a data center is: by the address family of home, else by the other one. Addresses for other purposes are none:
 * those of a CDN, for media alone, and those that ask for obfuscation or a secret.
 * Source: core.telegram.org/constructor/dcOption.
 */
function centerOf(options: readonly DcAddress[], dcId: number, usesIpv6: boolean): DcAddress | undefined {
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
