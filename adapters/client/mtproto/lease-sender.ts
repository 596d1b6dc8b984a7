import type { RequestGate } from "../../../src/connections/client-adapter.js";
import type { LeaseScope } from "../../../src/connections/lease-scope.js";
import type { Library } from "./library.js";
import { describeRequest } from "./request.js";
import type { PooledSender } from "./sender.js";
import type { TlRequest } from "./tl.js";

/** What uploads and downloads of a library use of a sender. */
export interface LeaseSender {
  readonly dcId: number;
  isConnected(): boolean;
  send(request: TlRequest): Promise<unknown>;
}

const targets = new WeakMap<object, () => PooledSender>();

/** The sender behind a view, or the sender itself. */
export function unwrapSender(sender: unknown): PooledSender | undefined {
  if (typeof sender !== "object" || sender === null) return undefined;
  return targets.get(sender)?.() ?? (sender as PooledSender);
}

/**
 * A sender as one lease may use it. It stays usable over a lost connection, because the gate connects again before the
 * next request.
 */
export function createLeaseSender(
  library: Library,
  current: () => PooledSender,
  gate: RequestGate,
  scope: LeaseScope,
  transmit: PooledSender["transmit"],
): LeaseSender {
  const { dcId, isHomeDc } = current();
  const view: LeaseSender = {
    dcId,
    isConnected: () => scope.ended === undefined,
    send: async (request) => {
      const outgoing = describeRequest(request, isHomeDc);
      try {
        return await gate.call(outgoing, scope, () => transmit(request, outgoing));
      } catch (error) {
        throw library.differences.toTransferError(error, request);
      }
    },
  };
  targets.set(view, current);
  return view;
}
