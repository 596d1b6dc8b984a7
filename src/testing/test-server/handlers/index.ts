import type { ServerHandler, Services } from "../services.js";
import { accountHandlers } from "./account.js";
import { mediaHandlers } from "./media.js";
import { messageHandlers } from "./messages.js";
import { peerHandlers } from "./peers.js";
import { sendingHandlers } from "./sending.js";

/** Every method the test server answers by itself. */
export function builtInHandlers(services: Services): ReadonlyArray<readonly [string, ServerHandler]> {
  return [accountHandlers, peerHandlers, sendingHandlers, messageHandlers, mediaHandlers].flatMap((of) => of(services));
}
