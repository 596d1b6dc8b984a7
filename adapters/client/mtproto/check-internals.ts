import type { Library, SenderOptions } from "./library.js";

/** What both libraries have, by path from one of the samples. */
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
 * Looks for everything that the clients of a pool are built on, on objects that are made for it and touch no network.
 * The first part that is not there, or `undefined` when all of them are.
 */
export function findMissingInternal(library: Library): string | undefined {
  // A class that is not there is the first to be told of.
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
