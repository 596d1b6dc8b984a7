/** A request of GramJS or teleproto. Identified by its class name, never by `instanceof`. */
export interface TelegramRequest {
  /** The full name: `"messages.GetHistory"`, `"Ping"`. */
  readonly className: string;
  readonly classType?: string;
  /** The wrapped request, if this is a wrapper. */
  readonly query?: unknown;
}

/** An API request about to be sent. */
export interface OutgoingRequest {
  /** The full name of the innermost query: `"messages.SendMessage"`. */
  readonly method: string;
  /** `"user:<id>"`, `"chat:<id>"`, `"channel:<id>"`, or `undefined` if the request names none. */
  readonly peer: string | undefined;
  /** Whether Telegram refuses a second copy of the request, by its `random_id`. */
  readonly hasRandomId: boolean;
  /** Whether the library would chain it to other requests (invokeAfterMsg), so that it must be sent alone. */
  readonly isOrdered: boolean;
  /** Whether the request is sent to the account's own data center: a 401 from another one does not mean that the session is dead. */
  readonly isHomeDc: boolean;
}

/**
 * Requests that only wrap another one in `query`. Source: core.telegram.org/api/invoking; layer 198 of GramJS, the last one
 * from later layers.
 */
const WRAPPERS: ReadonlySet<string> = new Set([
  "InvokeWithLayer",
  "InitConnection",
  "InvokeAfterMsg",
  "InvokeAfterMsgs",
  "InvokeWithoutUpdates",
  "InvokeWithTakeout",
  "InvokeWithMessagesRange",
  "InvokeWithBusinessConnection",
  "InvokeWithApnsSecret",
  "InvokeWithGooglePlayIntegrity",
  "InvokeWithReCaptcha",
]);

const MAX_NESTING = 16;

/**
 * The query inside all wrappers, which is the one that is executed. A wrapper without a query, or one nested deeper than
 * any library nests them, is returned itself.
 */
export function innermost(request: TelegramRequest): TelegramRequest {
  let current = request;
  for (let depth = 0; depth < MAX_NESTING && WRAPPERS.has(current.className); depth += 1) {
    const { query } = current;
    if (!isRequest(query)) return current;
    current = query;
  }
  return current;
}

/** The name of the executed method: the class name of the innermost query. */
export function methodOf(request: TelegramRequest): string {
  return innermost(request).className;
}

/**
 * The method name as spelled by the classes of the libraries: `"contacts.ResolveUsername"` also for
 * `"contacts.resolveUsername"`, as in Telegram's documentation; `"Ping"` for `"ping"`.
 */
export function canonicalMethod(text: string): string {
  const nameAt = text.lastIndexOf(".") + 1;
  return text.slice(0, nameAt) + text.charAt(nameAt).toUpperCase() + text.slice(nameAt + 1);
}

/**
 * Whether the query has a `random_id` (or one for each message), by which Telegram refuses a second copy on the same
 * account. Source: core.telegram.org/method/messages.sendMessage (RANDOM_ID_DUPLICATE).
 */
export function hasRandomId(request: TelegramRequest): boolean {
  const query: object = innermost(request);
  const randomId: unknown = Reflect.get(query, "randomId");
  if (Array.isArray(randomId)) return randomId.length > 0 && randomId.every(isId);
  if (isId(randomId)) return true;
  const parts: unknown = Reflect.get(query, "multiMedia");
  return Array.isArray(parts) && parts.length > 0 && parts.every((part) => isId(fieldOf(part, "randomId")));
}

function isRequest(value: unknown): value is TelegramRequest {
  return typeof fieldOf(value, "className") === "string";
}

function fieldOf(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
}

/** Whether a value is a number other than zero, which Telegram treats as missing. */
function isId(value: unknown): boolean {
  if (value === undefined || value === null) return false;
  return /^-?0*[1-9]\d*$/.test(String(value));
}

/**
 * Creates the request again as the caller did, for another account: the libraries write the access hashes of one account
 * into the request they send, and keep the caller's arguments in `originalArgs`. A `random_id` that the caller did not
 * pass is generated again. Objects nested in the arguments are shared. Source: GramJS 2.26.22, tl/api.js.
 */
export function rebuild<R extends TelegramRequest>(request: R): R {
  const args = fieldOf(request, "originalArgs");
  if (typeof args !== "object" || args === null) return request;
  const query = fieldOf(args, "query");
  const make = request.constructor as new (args: object) => R;
  return new make(isRequest(query) ? { ...args, query: rebuild(query) } : { ...args });
}
