import { OptionsError } from "../../../src/errors.js";
import type { Library, SenderOptions } from "./library.js";

/** A package to import. */
export interface Package {
  /** The name of the adapter: `"gramjs"`. */
  readonly adapter: string;
  /** Its name on npm. */
  readonly name: string;
  /** The versions that the adapter supports. */
  readonly range: string;
}

/** An installed package lacks a part. */
export function unknownVersion({ adapter, name, range }: Package, missing: string): OptionsError {
  return new OptionsError(
    `${adapter}() does not know this version of "${name}" (${missing} is not there): npm install ${name}@${range}`,
  );
}

/** Why the package itself was not imported: an `OptionsError` with the command when it is not installed. */
export function packageFailure({ adapter, name, range }: Package, error: unknown): unknown {
  if (!isMissing(error)) return error;
  return new OptionsError(`${adapter}() needs the package "${name}": npm install ${name}@${range}`, { cause: error });
}

/** Why an internal module of an installed package was not imported: an `OptionsError` when the package has no such module. */
export function partFailure(wanted: Package, error: unknown): unknown {
  if (!isMissing(error)) return error;
  // Node.js: "Cannot find module '/…/telegram/tl/index.js' …", "Package subpath './tl/index.js' is not defined …".
  const [, part] = new RegExp(`["'](?:[^"']*\\b${wanted.name}|\\.)/([^"']+)["']`).exec((error as Error).message) ?? [];
  return unknownVersion(wanted, part === undefined ? "one of its parts" : `its part "${part}"`);
}

/** For a module that not every version has. Throws any other error than that it is missing. */
export function undefinedIfMissing(error: unknown): undefined {
  if (!isMissing(error)) throw error;
}

const MISSING_CODES: ReadonlySet<unknown> = new Set([
  "ERR_MODULE_NOT_FOUND",
  "ERR_PACKAGE_PATH_NOT_EXPORTED",
  // Of `require`: programs that a bundler has written.
  "MODULE_NOT_FOUND",
]);

/** Node.js reports it by a code; Vite, which resolves optional peers itself, in words. */
function isMissing(error: unknown): boolean {
  const { code, message } = error as NodeJS.ErrnoException;
  return MISSING_CODES.has(code) || (code === undefined && message.startsWith("Could not resolve "));
}

/** Internals of both libraries, by path from one of the samples. */
const PARTS: readonly string[] = [
  ...under(
    "client",
    "invoke invokeWithSender getSender connect addEventHandler removeEventHandler listEventHandlers setLogLevel logger.logLevel session",
  ),
  ...under(
    "client",
    "_eventBuilders _initRequest _log.error _connectedDeferred.resolve _entityCache _connection networkSocket",
  ),
  ...under("client", "_initSession _loopStarted _destroyed _securityChecks"),
  ...under("session", "_entityToRow _entitiesToRows getInputEntity getAuthKey processEntities load"),
  ...under("session", "getEntityRowsByPhone getEntityRowsByUsername getEntityRowsByName getEntityRowsById"),
  ...under("sender", "connect disconnect isConnected send addStateToQueue reconnect authKey.getKey _handleBadAuthKey"),
  ...under("state", "data promise resolve reject"),
  ...under("sender._pendingState", "get values delete clear"),
  ...under("sender._state", "writeDataAsMessage encryptMessageData decryptMessageData _getNewMsgId _getSeqNo"),
  ...under("sender._state", "salt id authKey.waitForKey"),
  ...under(
    "library",
    "layer RequestState GZIPPacked.gzipIfSmaller TLMessage RPCResult.CONSTRUCTOR_ID IGE handleUpdate",
  ),
  ...under("library", "BinaryReader.prototype.readLong BinaryReader.prototype.tgReadObject PromisedNetSockets"),
  ...under("library.errors", "RPCError FloodWaitError SlowModeWaitError SecurityError"),
  ...under("library", "utils.getPeerId utils.resolveId helpers.returnBigInt helpers.generateRandomLong"),
  ...under(
    "library.Api",
    "InvokeWithLayer InvokeWithoutUpdates.CONSTRUCTOR_ID PingDelayDisconnect help.GetConfig updates.GetState auth.ExportAuthorization",
  ),
  ...under(
    "library.Api",
    "auth.ImportAuthorization FutureSalts FutureSalt PeerUser.SUBCLASS_OF_ID PeerChat PeerChannel",
  ),
  ...under("library.Api", "InputPeerUser InputPeerChat InputPeerChannel"),
];

function under(owner: string, names: string): readonly string[] {
  return names.split(" ").map((name) => `${owner}.${name}`);
}

/**
 * The first of the internals that the clients of a pool are built on which is missing, or `undefined`. Checks objects
 * created for this purpose, without touching the network.
 */
export function findMissingInternal(library: Library): string | undefined {
  // A missing class is reported first: the samples are instances of the classes.
  const classes = under("library", "TelegramClient StringSession MTProtoSender Logger RequestState Api.help.GetConfig");
  const missing = classes.find((path) => !has({ library }, path));
  if (missing !== undefined) return missing;
  const samples = samplesOf(library);
  return [...PARTS, ...library.differences.parts].find((path) => !has(samples, path));
}

function samplesOf(library: Library): object {
  const logger = new library.Logger("none");
  const session = new library.StringSession("");
  const client = new library.TelegramClient(session, 1, "none", { baseLogger: logger });
  const options: SenderOptions = {
    logger,
    dcId: 1,
    retries: 1,
    reconnectRetries: 0,
    delay: 0,
    autoReconnect: false,
    connectTimeout: undefined,
    authKeyCallback: undefined,
    isMainSender: true,
    client,
    securityChecks: false,
    _exportedSenderPromises: new Map(),
  };
  const state = new library.RequestState(new library.Api.help.GetConfig());
  return { library, session, client, state, sender: new library.MTProtoSender(undefined, options) };
}

function has(samples: object, path: string): boolean {
  let value: unknown = samples;
  for (const name of path.split(".")) {
    if (value === undefined || value === null) return false;
    value = Reflect.get(Object(value), name);
  }
  return value !== undefined && value !== null;
}
