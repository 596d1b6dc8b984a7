import type { Library } from "../mtproto/library.js";
import {
  findMissingInternal,
  type Package,
  packageFailure,
  partFailure,
  unknownVersion,
} from "../mtproto/load-library.js";
import { gramjsDriver, tolerantClient } from "./gramjs-driver.js";

const PACKAGE: Package = { adapter: "gramjs", name: "telegram", range: "^2.26.22" };

/** `await import()` in a `try` block, here and below: so bundlers do not fail where the package is not installed. */
async function importRoot() {
  try {
    return await import("telegram");
  } catch (error) {
    throw packageFailure(PACKAGE, error);
  }
}

async function importGramjs() {
  const root = await importRoot();
  try {
    return {
      root,
      sender: await import("telegram/network/MTProtoSender.js"),
      state: await import("telegram/network/RequestState.js"),
      objects: await import("telegram/tl/AllTLObjects.js"),
      core: await import("telegram/tl/core/index.js"),
      ige: await import("telegram/crypto/IGE.js"),
    };
  } catch (error) {
    throw partFailure(PACKAGE, error);
  }
}

/** Only for private servers: Telegram's own keys are in the table. */
async function serverKeys() {
  try {
    const { _serverKeys } = await import("telegram/crypto/RSA.js");
    return _serverKeys;
  } catch (error) {
    throw partFailure(PACKAGE, error);
  }
}

/** Imports GramJS. Throws `OptionsError` with the fix when it is missing or of an unknown version. */
export async function loadGramjs(): Promise<Library> {
  const { root, sender, state, objects, core, ige } = await importGramjs();
  // Not by imports of their own: Node.js reads and scans the file of each once more, 2 to 8 ms of CPU apiece.
  const { sessions, extensions, client } = root;
  const library = {
    TelegramClient: tolerantClient(root.TelegramClient as unknown as Library["TelegramClient"]),
    Api: root.Api,
    layer: objects.LAYER,
    StringSession: sessions.StringSession,
    Logger: root.Logger,
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
    handleUpdate: client.updates._handleUpdate,
    differences: gramjsDriver(root.errors),
    serverKeys,
  } as unknown as Library;
  const missing = findMissingInternal(library);
  if (missing !== undefined) throw unknownVersion(PACKAGE, missing);
  return library;
}
