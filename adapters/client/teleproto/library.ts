import { gramjsDriver, tolerantClient } from "../gramjs/gramjs-driver.js";
import type { Library, LibraryClientClass, LibraryDriver, LibraryErrors } from "../mtproto/library.js";
import {
  findMissingInternal,
  type Package,
  packageFailure,
  partFailure,
  undefinedIfMissing,
  unknownVersion,
} from "../mtproto/load-library.js";
import { leaseAwareClient } from "./client.js";
import { teleprotoDriver } from "./teleproto-driver.js";

const PACKAGE: Package = { adapter: "teleproto", name: "teleproto", range: "^1.223.0" };

/** `await import()` in a `try` block, here and below: so bundlers do not fail where the package is not installed. */
async function importRoot() {
  try {
    return await import("teleproto");
  } catch (error) {
    throw packageFailure(PACKAGE, error);
  }
}

async function importTeleproto() {
  const root = await importRoot();
  try {
    return {
      root,
      sessions: await import("teleproto/sessions/index.js"),
      logger: await import("teleproto/extensions/Logger.js"),
      extensions: await import("teleproto/extensions/index.js"),
      sender: await import("teleproto/network/MTProtoSender.js"),
      state: await import("teleproto/network/RequestState.js"),
      registry: await import("teleproto/tl/runtime/registry.js"),
      core: await import("teleproto/tl/core/index.js"),
      ige: await import("teleproto/crypto/IGE.js"),
      updates: await updatesModule(),
    };
  } catch (error) {
    throw partFailure(PACKAGE, error);
  }
}

/** Only for private servers: Telegram's own keys are in the table. */
async function serverKeys() {
  try {
    const { _serverKeys } = await import("teleproto/crypto/RSA.js");
    return _serverKeys;
  } catch (error) {
    throw partFailure(PACKAGE, error);
  }
}

/** Imports teleproto. Throws `OptionsError` with the fix when it is missing or of an unknown version. */
export async function loadTeleproto(): Promise<Library> {
  const parts = await importTeleproto();
  const { root, sessions, logger, extensions, sender, state, registry, core, ige, updates } = parts;
  const { TelegramClient, Api, errors, utils, helpers } = root;
  const library = {
    ...(await forInstalledVersion(TelegramClient, Api, errors as unknown as LibraryErrors)),
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
    serverKeys,
  } as unknown as Library;
  const missing = findMissingInternal(library);
  if (missing !== undefined) throw unknownVersion(PACKAGE, missing);
  return library;
}

/** A folder since 1.229.0; one file before, which the current types do not have. */
async function updatesModule(): Promise<{ readonly _handleUpdate: unknown }> {
  try {
    return await import("teleproto/client/updates/dispatch.js");
  } catch (error) {
    undefinedIfMissing(error);
  }
  const former = "teleproto/client/updates.js";
  try {
    return await import(/* @vite-ignore */ /* webpackIgnore: true */ former);
  } catch (error) {
    throw partFailure(PACKAGE, error);
  }
}

async function transfersModule() {
  try {
    return await import("teleproto/network/MediaScheduler.js");
  } catch (error) {
    return undefinedIfMissing(error);
  }
}

async function composerModule() {
  try {
    return await import("teleproto/client/updates/composer.js");
  } catch (error) {
    return undefinedIfMissing(error);
  }
}

async function apiProxyModule() {
  try {
    return await import("teleproto/tl/runtime/apiProxy.js");
  } catch (error) {
    throw partFailure(PACKAGE, error);
  }
}

/** Before the rewrite of its network, which added a scheduler of file parts, teleproto was built like GramJS. */
async function forInstalledVersion(
  Client: unknown,
  Api: object,
  errors: LibraryErrors,
): Promise<{ readonly TelegramClient: LibraryClientClass; readonly differences: LibraryDriver }> {
  const transfers = await transfersModule();
  if (transfers === undefined) {
    const { name, connectionOptions, toLibraryError } = teleprotoDriver;
    const differences = { ...gramjsDriver(errors), name, connectionOptions, toLibraryError };
    return { TelegramClient: tolerantClient(Client as LibraryClientClass), differences };
  }
  const { createApiProxy } = await apiProxyModule();
  const composer = await composerModule();
  const parts = { Api, errors, createApiProxy, ClientUpdates: composer?.ClientUpdates, transfers };
  return { TelegramClient: leaseAwareClient(Client, parts), differences: teleprotoDriver };
}
