import type { ServerHandler, Services } from "../services.js";
import { accountHandlers } from "./account.js";
import { mediaHandlers } from "./media.js";
import { messageHandlers } from "./messages.js";
import { peerHandlers } from "./peers.js";
import { sendingHandlers } from "./sending.js";
import { signInHandlers } from "./signing-in.js";

/** Every method the test server answers by itself. */
export function builtInHandlers(services: Services): ReadonlyArray<readonly [string, ServerHandler]> {
  const all = [accountHandlers, signInHandlers, peerHandlers, sendingHandlers, messageHandlers, mediaHandlers];
  return all.flatMap((of) => of(services));
}
