/** A request of GramJS or teleproto, as far as this package has to know it: told by its class name, never by `instanceof`. */
export interface TelegramRequest {
  /** The full name: `"messages.GetHistory"`, `"Ping"`. */
  readonly className: string;
  readonly classType?: string;
  /** What a wrapper wraps. */
  readonly query?: unknown;
}

/** One API request, as far as the pool has to know it. */
export interface OutgoingRequest {
  /** The full name of the innermost query: `"messages.SendMessage"`. */
  readonly method: string;
  /** `"user:<id>"`, `"chat:<id>"`, `"channel:<id>"`, or `undefined` when the request names none. */
  readonly peer: string | undefined;
  /** Whether Telegram itself refuses a second copy, by its `random_id`. */
  readonly hasRandomId: boolean;
  /** Whether the library would chain it to others (invokeAfterMsg), so that it has to go out alone. */
  readonly isOrdered: boolean;
  /** Whether it goes to the account's own data center: a 401 from another one is not the account's death. */
  readonly isHomeDc: boolean;
}

/**
 * Requests that only carry another one in `query`. Source: core.telegram.org/api/invoking; layer 198 of GramJS, the
 * last one of later layers.
 */
const wrappers: ReadonlySet<string> = new Set([
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

const deepestNesting = 16;

/**
 * The query that is executed, out of all its wrappers. A wrapper without a query, or one nested deeper than any library
 * makes them, is returned as it is.
 */
export function innermost(request: TelegramRequest): TelegramRequest {
  let current = request;
  for (let depth = 0; depth < deepestNesting && wrappers.has(current.className); depth += 1) {
    const { query } = current;
    if (!isRequest(query)) return current;
    current = query;
  }
  return current;
}

/** The name of the method that is executed: the class name of the innermost query. */
export function methodOf(request: TelegramRequest): string {
  return innermost(request).className;
}

/**
 * The name as the libraries' classes have it: `"contacts.resolveUsername"` (Telegram's documentation) and
 * `"contacts.ResolveUsername"` both give the latter; `"ping"` gives `"Ping"`.
 */
export function canonicalMethod(text: string): string {
  const nameAt = text.lastIndexOf(".") + 1;
  return text.slice(0, nameAt) + text.charAt(nameAt).toUpperCase() + text.slice(nameAt + 1);
}

/**
 * Whether the query carries a `random_id` of its own (or one for each message), by which Telegram refuses a second copy
 * of it on the same account. Source: core.telegram.org/method/messages.sendMessage (RANDOM_ID_DUPLICATE).
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

/** A number other than zero: Telegram takes zero for none. */
function isId(value: unknown): boolean {
  if (value === undefined || value === null) return false;
  return /^-?0*[1-9]\d*$/.test(String(value));
}

/**
 * The same request as its caller made it, for another account: the libraries write one account's access hashes into the
 * object they send, and keep the caller's own arguments in `originalArgs`. A `random_id` that the caller did not give
 * is drawn anew. What is nested in the arguments is shared. Source: GramJS 2.26.22, tl/api.js.
 */
export function rebuild<R extends TelegramRequest>(request: R): R {
  const args = fieldOf(request, "originalArgs");
  if (typeof args !== "object" || args === null) return request;
  const query = fieldOf(args, "query");
  const make = request.constructor as new (args: object) => R;
  return new make(isRequest(query) ? { ...args, query: rebuild(query) } : { ...args });
}
