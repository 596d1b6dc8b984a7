import { missingPart } from "../mtproto/inner-parts.js";
import type { Library } from "../mtproto/library.js";
import type { Package } from "../mtproto/loading.js";
import { importParts, unknownVersion } from "../mtproto/loading.js";
import { gramjsDifferences, patientClient } from "./differences.js";

const PACKAGE = {
  adapter: "gramjs",
  name: "telegram",
  range: "^2.26.22",
  parts: {
    root: () => import("telegram"),
    sessions: () => import("telegram/sessions/index.js"),
    logger: () => import("telegram/extensions/Logger.js"),
    extensions: () => import("telegram/extensions/index.js"),
    sender: () => import("telegram/network/MTProtoSender.js"),
    state: () => import("telegram/network/RequestState.js"),
    updates: () => import("telegram/client/updates.js"),
    objects: () => import("telegram/tl/AllTLObjects.js"),
    core: () => import("telegram/tl/core/index.js"),
    ige: () => import("telegram/crypto/IGE.js"),
  },
} satisfies Package<object>;

/** Imports GramJS. Throws `OptionsError` with the fix when it is missing, or is not as this package knows it. */
export async function loadGramjs(): Promise<Library> {
  const { root, sessions, logger, extensions, sender, state, updates, objects, core, ige } = await importParts(PACKAGE);
  const library = {
    TelegramClient: patientClient(root.TelegramClient as unknown as Library["TelegramClient"]),
    Api: root.Api,
    layer: objects.LAYER,
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
    handleUpdate: updates._handleUpdate,
    differences: gramjsDifferences(root.errors),
  } as unknown as Library;
  const missing = missingPart(library);
  if (missing !== undefined) throw unknownVersion(PACKAGE, missing);
  return library;
}
