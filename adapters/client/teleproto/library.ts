import { missingPart } from "../mtproto/inner-parts.js";
import type { Library } from "../mtproto/library.js";
import { importParts, type Package, unknownVersion } from "../mtproto/loading.js";
import { leasedClient } from "./client.js";
import { teleprotoDifferences } from "./differences.js";

const PACKAGE = {
  adapter: "teleproto",
  name: "teleproto",
  range: "^1.223.0",
  parts: {
    root: () => import("teleproto"),
    sessions: () => import("teleproto/sessions/index.js"),
    logger: () => import("teleproto/extensions/Logger.js"),
    extensions: () => import("teleproto/extensions/index.js"),
    sender: () => import("teleproto/network/MTProtoSender.js"),
    state: () => import("teleproto/network/RequestState.js"),
    transfers: () => import("teleproto/network/MediaScheduler.js"),
    dispatch: () => import("teleproto/client/updates/dispatch.js"),
    composer: () => import("teleproto/client/updates/composer.js"),
    registry: () => import("teleproto/tl/runtime/registry.js"),
    proxy: () => import("teleproto/tl/runtime/apiProxy.js"),
    core: () => import("teleproto/tl/core/index.js"),
    ige: () => import("teleproto/crypto/IGE.js"),
  },
} satisfies Package<object>;

/** Imports teleproto. Throws `OptionsError` with the fix when it is missing, or is not as this package knows it. */
export async function loadTeleproto(): Promise<Library> {
  const { root, sessions, logger, extensions, sender, state, registry, core, ige, ...more } =
    await importParts(PACKAGE);
  const library = {
    TelegramClient: leasedClient(root.TelegramClient, {
      Api: root.Api,
      errors: root.errors,
      createApiProxy: more.proxy.createApiProxy,
      ClientUpdates: more.composer.ClientUpdates,
      transfers: more.transfers,
    }),
    Api: root.Api,
    layer: registry.LAYER,
    StringSession: sessions.StringSession,
    Logger: logger.Logger,
    PromisedNetSockets: extensions.PromisedNetSockets,
    RequestState: state.RequestState,
    BinaryReader: extensions.BinaryReader,
    GZIPPacked: core.GZIPPacked,
    TLMessage: core.TLMessage,
    RPCResult: core.RPCResult,
    IGE: ige.IGE,
    MTProtoSender: sender.MTProtoSender,
    errors: root.errors,
    utils: root.utils,
    helpers: root.helpers,
    handleUpdate: more.dispatch._handleUpdate,
    differences: teleprotoDifferences,
  } as unknown as Library;
  const missing = missingPart(library);
  if (missing !== undefined) throw unknownVersion(PACKAGE, missing);
  return library;
}
