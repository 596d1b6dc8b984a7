import { systemClock } from "../common/clock.js";
import { ignoreRejection } from "../common/process-warning.js";
import { OptionsError } from "../errors.js";
import { isAccountId, isPeerKey, parsePeerReference } from "../telegram/peers.js";
import { parseSession } from "../telegram/session-string.js";
import { budgets, parseBudgets } from "./budgets.js";
import { type ClientProfile, PROFILE_RULES, type ResolvedProfile } from "./client-profile.js";
import type {
  AcquireOptions,
  AddManyOptions,
  AddOptions,
  CheckOptions,
  DuplicateOptions,
  MapOptions,
  NewSession,
  ResolvedOptions,
  RotateKeysOptions,
  SessionChange,
  SessionPoolOptions,
  UseOptions,
} from "./options.js";
import { PROXY_RULES, proxyConflict } from "./proxy.js";
import { parseProxyUrl } from "./proxy-url.js";
import {
  boolean,
  check,
  describeType,
  finiteMilliseconds,
  functionValue,
  hasMethods,
  isObject,
  isPlainObject,
  isReserved,
  isStorable,
  isStorableId,
  MAX_ID_BYTES,
  methodName,
  methods,
  milliseconds,
  nonEmptyString,
  nonNegativeInteger,
  nonNegativeIntegerOrInfinity,
  oneOf,
  perItem,
  positiveInteger,
  positiveIntegerOrInfinity,
  positiveMs,
  RESERVED_PREFIXES,
  type Rules,
  selection,
  tags,
  type Validator,
} from "./validators.js";

const storage: Validator = {
  expected:
    'a session storage, for instance memory() or sqlite("sessions.db") (an object with list(), read(), write() and a boolean shared)',
  accepts: (value) =>
    hasMethods(value, ["list", "read", "write"]) && isObject(value) && typeof value.shared === "boolean",
};

const POOL: Rules = {
  client: methods("a client adapter, for instance gramjs({ apiId, apiHash })", "open", "create"),
  storage,
  encryption: methods("a sealer, for instance aesGcm(key)", "seal", "open"),
  cooldownScope: oneOf("session", "method"),
  floodsBelongTo: oneOf("account", "session"),
  selection,
  leasesPerSession: positiveIntegerOrInfinity,
  inlineWaitMs: milliseconds,
  maxConnected: positiveIntegerOrInfinity,
  maxWaiters: nonNegativeIntegerOrInfinity,
  idleTimeoutMs: milliseconds,
  connectTimeoutMs: finiteMilliseconds,
  callTimeoutMs: finiteMilliseconds,
  maxLeaseMs: positiveMs,
  closeTimeoutMs: milliseconds,
  storageTimeoutMs: finiteMilliseconds,
  restrictedForMs: positiveMs,
  probeIntervalMs: positiveMs,
  keepConnected: boolean,
  ownership: { expected: "an object: { ttlMs, host }", accepts: isObject },
  budgets,
  traceLeases: boolean,
  trustServers: boolean,
  onProgress: functionValue,
  logger: methods("a logger", "debug", "info", "warn", "error"),
  clock: methods("a clock", "now", "monotonic", "setTimer"),
};

const OF_THE_CLIENT = "It belongs to the client: { client: gramjs({ apiId, apiHash }) }.";
const OF_ADD = "Sessions are added to the open pool: pool.add(id, session).";
/** Options that people look for in the pool, and where they are. */
const POOL_HINTS: Readonly<Record<string, string>> = {
  apiId: OF_THE_CLIENT,
  apiHash: OF_THE_CLIENT,
  clientOptions: OF_THE_CLIENT,
  session: OF_ADD,
  sessions: OF_ADD,
  accounts: OF_ADD,
};

const OWNERSHIP: Rules = { ttlMs: finiteMilliseconds, host: nonEmptyString };

const peer: Validator = {
  expected: '"user:<id>", "chat:<id>" or "channel:<id>"',
  accepts: (value) => typeof value === "string" && isPeerKey(value),
};

const knows: Validator = {
  expected: '"@name", "user:<id>", "chat:<id>" or "channel:<id>"',
  accepts: (value) => typeof value === "string" && parsePeerReference(value) !== undefined,
};

const signal: Validator = {
  expected: "an AbortSignal",
  accepts: (value) =>
    isObject(value) && typeof value.aborted === "boolean" && typeof value.addEventListener === "function",
};

const userId: Validator = {
  expected: 'the user id of an account as a decimal text ("5000000001")',
  accepts: isAccountId,
};

const ACQUIRE: Rules = {
  id: nonEmptyString,
  key: nonEmptyString,
  tags,
  account: userId,
  method: methodName,
  peer,
  knows,
  resolve: boolean,
  wait: {
    expected: "true, false or a number of milliseconds, 0 or more",
    accepts: (value) => typeof value === "boolean" || milliseconds.accepts(value),
  },
  allowFrozen: boolean,
  priority: { expected: "a finite number", accepts: (value) => typeof value === "number" && Number.isFinite(value) },
  signal,
};

const CHECK: Rules = { signal, onProgress: functionValue };

const USE: Rules = {
  ...ACQUIRE,
  retry: oneOf("safe", "any", "none"),
  maxAttempts: positiveIntegerOrInfinity,
  timeoutMs: positiveMs,
};

const MAP: Rules = {
  ...USE,
  id: perItem(nonEmptyString),
  key: perItem(nonEmptyString),
  peer: perItem(peer),
  knows: perItem(knows),
  concurrency: positiveInteger,
  ordered: boolean,
  total: nonNegativeInteger,
  onProgress: functionValue,
  checkpoint: { expected: "an object: { storage, name, key }", accepts: isObject },
};

/** A part of the id of a record. */
const recordName: Validator = {
  expected: `a non-empty string of at most ${MAX_ID_BYTES} bytes, without U+0000 and lone surrogates`,
  accepts: (value) => nonEmptyString.accepts(value) && isStorableId(String(value)),
};

const CHECKPOINT: Rules = { storage, name: recordName, key: functionValue };

const ADD: Rules = { tags, profile: { expected: "a client profile", accepts: isObject } };
const ADD_MANY: Rules = { signal, onProgress: functionValue, onAborted: functionValue };
const ROTATE_KEYS: Rules = { onProgress: functionValue };
const anything: Validator = { expected: "a value", accepts: () => true };

const storedPeers: Validator = {
  expected:
    'an array of peers { id, accessHash, username?, phone?, name? } with marked ids and access hashes as decimal texts ("-1001234567890")',
  accepts: (value) => Array.isArray(value) && value.every(isStoredPeer),
};

/** Id and session are checked as by `add`. */
const NEW_SESSION: Rules = {
  ...ADD,
  id: anything,
  session: anything,
  peers: storedPeers,
  accountId: userId,
  isBot: boolean,
};
const UPDATE: Rules = { ...ADD, session: nonEmptyString };
const DUPLICATE: Rules = {
  ...ADD,
  password: { expected: "a function of the hint and the attempt", accepts: (value) => typeof value === "function" },
  wait: ACQUIRE.wait as Validator,
  signal,
};
const COOL_DOWN: Rules = { method: methodName, peer };
const CLOSE: Rules = { timeoutMs: milliseconds };

/** Validates the options of `open` and fills in all defaults but the storage. Throws `OptionsError`. */
export function checkPoolOptions<Client>(
  options: SessionPoolOptions<Client>,
): Omit<ResolvedOptions<Client>, "storage"> {
  check("SessionPool.open", options, POOL, ["client"], POOL_HINTS);
  const { ttlMs = 60_000, host } = options.ownership ?? {};
  if (options.ownership !== undefined) check("SessionPool.open: ownership", options.ownership, OWNERSHIP);
  return {
    cooldownScope: "session",
    floodsBelongTo: "account",
    selection: "spread",
    leasesPerSession: 1,
    inlineWaitMs: 0,
    maxConnected: Number.POSITIVE_INFINITY,
    maxWaiters: Number.POSITIVE_INFINITY,
    idleTimeoutMs: 300_000,
    connectTimeoutMs: 15_000,
    callTimeoutMs: 60_000,
    maxLeaseMs: Number.POSITIVE_INFINITY,
    closeTimeoutMs: 10_000,
    storageTimeoutMs: 5_000,
    restrictedForMs: 86_400_000,
    probeIntervalMs: Number.POSITIVE_INFINITY,
    keepConnected: true,
    traceLeases: false,
    trustServers: false,
    clock: systemClock,
    logger: undefined,
    onProgress: undefined,
    encryption: undefined,
    ...omitUndefined(options),
    budgets: parseBudgets(options.budgets),
    ownership: { ttlMs, host },
  };
}

/** Throws `OptionsError` if the options of `acquire` are not valid. */
export function checkAcquireOptions(options: AcquireOptions): void {
  if (typeof options === "string") throw new OptionsError("acquire: a session is named by an option: acquire({ id }).");
  check("acquire", options, ACQUIRE);
  checkResolve("acquire", options);
}

/** Without a peer there is nothing to resolve. */
function checkResolve(call: string, { knows, resolve }: Pick<AcquireOptions, "resolve"> & { knows?: unknown }): void {
  if (resolve === true && knows === undefined) {
    throw new OptionsError(`${call}: resolve is for knows, which names the peer: { knows: "@name", resolve: true }.`);
  }
}

/** Throws `OptionsError` if the arguments of `use`, `invoke` or `iterate` are not valid; `call` is which of them. */
export function checkUseArguments(call: "use" | "invoke" | "iterate", first: unknown, options: UseOptions): void {
  const isSwapped = typeof first !== "function" && (typeof options === "function" || hasClassName(options));
  if (isSwapped) {
    const name = call === "invoke" ? "request" : "work";
    throw new OptionsError(
      `${call}: the second argument must be an object of options; got ${describeType(options)}. Were the arguments swapped? It is ${call}(${name}, options), and ${call}(${name}, { id }) for one session.`,
    );
  }
  check(call, options, USE);
  checkResolve(call, options);
  if (call !== "invoke" && typeof first !== "function") {
    throw new OptionsError(`${call}: the work must be ${functionValue.expected}; got ${describeType(first)}.`);
  }
}

function hasClassName(value: unknown): boolean {
  return isObject(value) && typeof value.className === "string";
}

/** Throws `OptionsError` if the options of `check` are not valid. */
export function checkCheckOptions(options: CheckOptions): void {
  check("check", options, CHECK);
}

/** Throws `OptionsError` if the arguments of `map` are not valid. */
export function checkMapArguments<I>(items: unknown, work: unknown, options: MapOptions<I>): void {
  if (typeof items === "function" && isIterable(work)) {
    throw new OptionsError(
      "map: the first argument is a function. Were the arguments swapped? It is map(items, work, options).",
    );
  }
  if (!isIterable(items)) {
    throw new OptionsError(`map: the items must be iterable, also asynchronously; got ${describeType(items)}.`);
  }
  if (!functionValue.accepts(work))
    throw new OptionsError(`map: the work must be ${functionValue.expected}; got ${describeType(work)}.`);
  check("map", options, MAP);
  checkResolve("map", options);
  const { checkpoint } = options;
  if (checkpoint !== undefined) check("map: checkpoint", checkpoint, CHECKPOINT, Object.keys(CHECKPOINT));
}

/** Validates the options that functions returned for an item. Throws `OptionsError`. */
export function checkItemOptions(options: Pick<UseOptions, "id" | "key" | "peer" | "knows">): void {
  for (const value of Object.values(options)) ignoreRejection(value);
  check("map, for this item", options, ACQUIRE);
}

/** Validates the key that the checkpoint's `key` returned for an item. Throws `OptionsError`. */
export function checkItemKey(key: unknown): asserts key is string {
  if (nonEmptyString.accepts(key)) return;
  ignoreRejection(key);
  throw new OptionsError(`map: checkpoint.key must return ${nonEmptyString.expected}; got ${describeType(key)}.`);
}

function isIterable(value: unknown): boolean {
  if (typeof value === "string") return true;
  if (!isObject(value) && typeof value !== "function") return false;
  return [Symbol.asyncIterator, Symbol.iterator].some((method) => typeof Reflect.get(value, method) === "function");
}

/** The options of `add` and `update` that describe a session. */
export interface SessionDescription {
  readonly tags?: readonly string[] | undefined;
  readonly profile?: ResolvedProfile | undefined;
}

/**
 * Throws `OptionsError` if the arguments of `add` are not valid. The session string is validated by `parseSession`. Returns
 * what the options describe.
 */
export function checkAddArguments(id: unknown, options: AddOptions): SessionDescription {
  checkId("add", id);
  check("add", options, ADD);
  return { tags: options.tags, profile: resolveProfile("add", options.profile) };
}

/** Throws `OptionsError` if the arguments of `duplicate` are not valid. */
export function checkDuplicateArguments(id: unknown, newId: unknown, options: DuplicateOptions): void {
  checkTextId("duplicate", id);
  checkId("duplicate", newId);
  check("duplicate", options, DUPLICATE);
  resolveProfile("duplicate", options.profile);
}

/** Throws `OptionsError` if the arguments of `addMany` are not valid; its entries are another matter. */
export function checkAddManyArguments(sessions: unknown, options: AddManyOptions): void {
  if (!isIterable(sessions) || typeof sessions === "string") {
    throw new OptionsError(
      `addMany: the sessions must be iterable, also asynchronously; got ${describeType(sessions)}.`,
    );
  }
  check("addMany", options, ADD_MANY);
}

/** Throws `OptionsError` if the options of `rotateKeys` are not valid. */
export function checkRotateKeysOptions(options: RotateKeysOptions): void {
  check("rotateKeys", options, ROTATE_KEYS);
}

/** Throws `OptionsError` if an entry of `addMany` is no object of the fields of one; `add` checks the rest. */
export function checkNewSession(entry: unknown): asserts entry is NewSession {
  if (!isPlainObject(entry)) {
    throw new OptionsError(`addMany: each entry must be an object { id, session }; got ${describeType(entry)}.`);
  }
  check("addMany, for this entry", entry, NEW_SESSION);
}

/** Whether the text may be shown: a session string in the place of an id may not. */
export function isShowableId(id: unknown): id is string {
  return typeof id === "string" && !isSession(id);
}

function isStoredPeer(peer: unknown): boolean {
  if (!isObject(peer)) return false;
  const { id, accessHash, username, phone, name } = peer;
  const isDecimal = (value: unknown): boolean => typeof value === "string" && /^-?\d{1,20}$/.test(value);
  const isTextOrNone = (value: unknown): boolean => value === undefined || typeof value === "string";
  return isDecimal(id) && isDecimal(accessHash) && [username, phone, name].every(isTextOrNone);
}

/** Throws `OptionsError` if the change of `update` is not valid. Returns what it describes. */
export function checkChange(change: SessionChange): SessionDescription {
  check("update", change, UPDATE);
  return { tags: change.tags, profile: resolveProfile("update", change.profile) };
}

/** Throws `OptionsError` if the options of `close` are not valid. */
export function checkCloseOptions(options: { readonly timeoutMs?: number | undefined }): void {
  check("close", options, CLOSE);
}

/** Throws `OptionsError` if the reason of `disable` or `retire` is not a text: it is stored in the record. */
export function checkReason(call: string, reason: unknown): asserts reason is string {
  if (!nonEmptyString.accepts(reason))
    throw new OptionsError(`${call}: reason must be ${nonEmptyString.expected}; got ${describeType(reason)}.`);
}

/** Validates the arguments of `coolDown`. Throws `OptionsError`. */
export function checkCoolDown(seconds: unknown, scope: unknown): void {
  check("coolDown", scope, COOL_DOWN);
  if (typeof seconds !== "number" || !(seconds >= 0)) {
    throw new OptionsError(`coolDown: seconds must be a number, 0 or more; got ${describeType(seconds)}.`);
  }
}

/** Throws `OptionsError` if the id of a session is not a text. */
export function checkTextId(call: string, id: unknown): asserts id is string {
  if (!nonEmptyString.accepts(id))
    throw new OptionsError(`${call}: id must be ${nonEmptyString.expected}; got ${describeType(id)}.`);
}

function checkId(call: string, id: unknown): asserts id is string {
  if (typeof id !== "string" || id === "")
    throw new OptionsError(`${call}: id must be a non-empty string; got ${describeType(id)}.`);
  if (isSession(id)) {
    throw new OptionsError(`${call}: the id is a session string; were the arguments swapped? It is add(id, session).`);
  }
  if (!isStorableId(id)) {
    throw new OptionsError(
      isStorable(id)
        ? `${call}: the id is too long: at most ${MAX_ID_BYTES} bytes of UTF-8; got ${Buffer.byteLength(id)}.`
        : `${call}: the id holds U+0000 or half of a surrogate pair, which not every storage can keep; choose another id.`,
    );
  }
  if (isReserved(id)) {
    const prefixes = Object.values(RESERVED_PREFIXES).map((prefix) => `"${prefix}"`);
    throw new OptionsError(`${call}: ids that start with ${prefixes.join(" or ")} are reserved; choose another id.`);
  }
}

/** A session string holds an auth key, which has 342 characters of base64 in every format. */
const MIN_SESSION_LENGTH = 300;

/** Ids appear in logs, so a session string must not become one. */
function isSession(text: string): boolean {
  // Before the parser, whose error costs as much as the rest of an addition.
  if (text.length < MIN_SESSION_LENGTH) return false;
  try {
    parseSession(text);
    return true;
  } catch {
    return false;
  }
}

/**
 * Validates a profile and reads the URL of its proxy; `undefined` stays `undefined`. Throws `OptionsError`, without
 * any value of the proxy.
 */
export function resolveProfile(call: string, profile: ClientProfile): ResolvedProfile;
export function resolveProfile(call: string, profile: ClientProfile | undefined): ResolvedProfile | undefined;
export function resolveProfile(call: string, profile: ClientProfile | undefined): ResolvedProfile | undefined {
  if (profile === undefined) return undefined;
  check(`${call}: profile`, profile, PROFILE_RULES);
  const { proxy, ...rest } = profile;
  if (proxy === undefined) return rest;
  const name = `${call}: profile.proxy`;
  if (typeof proxy === "string") return { ...rest, proxy: parseProxyUrl(name, proxy) };
  check(name, proxy, PROXY_RULES, ["ip", "port"]);
  const conflict = proxyConflict(proxy);
  if (conflict !== undefined) throw new OptionsError(`${name} ${conflict}.`);
  return { ...rest, proxy };
}

function omitUndefined<Options extends object>(
  options: Options,
): { [Key in keyof Options]: Exclude<Options[Key], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [Key in keyof Options]: Exclude<Options[Key], undefined>;
  };
}
