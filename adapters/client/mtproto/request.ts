import type { OutgoingRequest } from "../../../src/connections/client-adapter.js";
import { peerOf } from "../../../src/telegram/peers.js";
import { hasRandomId, methodOf, type TelegramRequest } from "../../../src/telegram/requests.js";

/**
 * Requests that a library chains to one another with invokeAfterMsg when they are queued together. After a flooded one it
 * sends the others again at once, so they have to go one by one. Source: GramJS's
 * extensions/MessagePacker.js, 2.26.22; teleproto's network/MTProtoSender.js, 1.229.0.
 */
const ORDERED: ReadonlySet<string> = new Set([
  "messages.SendMessage",
  "messages.SendMedia",
  "messages.SendMultiMedia",
  "messages.ForwardMessages",
  "messages.SendInlineBotResult",
]);

/** What the pool has to know of a request whose entities are resolved. */
export function describeRequest(request: TelegramRequest, isHomeDc: boolean): OutgoingRequest {
  return {
    method: methodOf(request),
    peer: peerOf(request),
    hasRandomId: hasRandomId(request),
    isOrdered: ORDERED.has(request.className),
    isHomeDc,
  };
}
