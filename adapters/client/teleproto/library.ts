import { gramjsDifferences, patientClient } from "../gramjs/differences.js";
import { missingPart } from "../mtproto/inner-parts.js";
import type { Differences, Library, LibraryClientClass } from "../mtproto/library.js";
import { ifThere, importParts, type Package, unknownVersion } from "../mtproto/loading.js";
import type { LibraryErrors } from "../mtproto/tl.js";
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
    registry: () => import("teleproto/tl/runtime/registry.js"),
    core: () => import("teleproto/tl/core/index.js"),
    ige: () => import("teleproto/crypto/IGE.js"),
    updates: () => updatesModule(),
  },
} satisfies Package<object>;

/** Imports teleproto. Throws `OptionsError` with the fix when it is missing, or is not as this package knows it. */
export async function loadTeleproto(): Promise<Library> {
  const parts = await importParts(PACKAGE);
  const { root, sessions, logger, extensions, sender, state, registry, core, ige, updates } = parts;
  const { TelegramClient, Api, errors, utils, helpers } = root;
  const library = {
    ...(await ofThisVersion(TelegramClient, Api, errors as unknown as LibraryErrors)),
    Api,
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
    errors,
    utils,
    helpers,
    handleUpdate: updates._handleUpdate,
  } as unknown as Library;
  const missing = missingPart(library);
  if (missing !== undefined) throw unknownVersion(PACKAGE, missing);
  return library;
}

/** A folder since 1.229.0; one file before, which today's types do not know. */
async function updatesModule(): Promise<{ readonly _handleUpdate: unknown }> {
  const former = "teleproto/client/updates.js";
  return (await ifThere(() => import("teleproto/client/updates/dispatch.js"))) ?? import(/* @vite-ignore */ former);
}

/** Before its network was written anew, which brought a scheduler of file parts, teleproto was built as GramJS is. */
async function ofThisVersion(
  Client: unknown,
  Api: object,
  errors: LibraryErrors,
): Promise<{ readonly TelegramClient: LibraryClientClass; readonly differences: Differences }> {
  const transfers = await ifThere(() => import("teleproto/network/MediaScheduler.js"));
  if (transfers === undefined) {
    const { name, connectionOptions, asThrown } = teleprotoDifferences;
    const differences = { ...gramjsDifferences(errors), name, connectionOptions, asThrown };
    return { TelegramClient: patientClient(Client as LibraryClientClass), differences };
  }
  const { createApiProxy } = await import("teleproto/tl/runtime/apiProxy.js");
  const composer = await ifThere(() => import("teleproto/client/updates/composer.js"));
  const parts = { Api, errors, createApiProxy, ClientUpdates: composer?.ClientUpdates, transfers };
  return { TelegramClient: leasedClient(Client, parts), differences: teleprotoDifferences };
}
