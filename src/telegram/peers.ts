import { innermost, type TelegramRequest } from "./requests.js";

/**
 * The user, group or channel that a request is about: `"user:<id>"`, `"chat:<id>"`, `"channel:<id>"`, or `"user:self"` for
 * the account itself. Ids are Telegram's own, without the prefixes (`-100…`) of the Bot API. `undefined` for a request
 * about none or several, and for one whose peer is not resolved yet (a username).
 */
export function peerOf(request: TelegramRequest): string | undefined {
  const query = innermost(request);
  for (const field of PEER_FIELDS) {
    const value: unknown = Reflect.get(query, field);
    if (value === undefined || value === null) continue;
    if (field !== "chatId") return peerKeyOf(value);
    return WITHOUT_CHAT.has(query.className) ? undefined : keyOf("chat", value);
  }
  return undefined;
}

/** Whether a text has the form that {@link peerOf} returns. */
export function isPeerKey(text: string): boolean {
  return /^(?:user:self|(?:user|chat|channel):[1-9]\d{0,18})$/.test(text);
}

/** Whether a value is a user id in decimal. Source: core.telegram.org/api/peers: positive numbers of up to 52 bits. */
export function isAccountId(value: unknown): value is string {
  return typeof value === "string" && /^[1-9]\d{0,18}$/.test(value);
}

/** A peer as a session may know it. */
export interface PeerReference {
  /** `"id"`: by the marked id; `"username"`: in lower case, without the `@`. */
  readonly field: "id" | "username";
  readonly value: string;
}

/** Marks of the ids of each kind. Source: core.telegram.org/api/bots/ids. */
const CHANNEL_MARK = "-100";
const MARKS: Readonly<Record<string, string>> = { user: "", chat: "-", channel: CHANNEL_MARK };

/** Reads `"user:<id>"`, `"chat:<id>"`, `"channel:<id>"` or `"@name"`; `undefined` for any other text. */
export function parsePeerReference(text: string): PeerReference | undefined {
  const [, name] = /^@(\w{1,32})$/.exec(text) ?? [];
  if (name !== undefined) return { field: "username", value: name.toLowerCase() };
  const [, kind = "", id] = /^(user|chat|channel):([1-9]\d{0,18})$/.exec(text) ?? [];
  return id === undefined ? undefined : { field: "id", value: `${MARKS[kind]}${id}` };
}

/** The text that {@link parsePeerReference} reads as this peer. */
export function nameOfReference({ field, value }: PeerReference): string {
  if (field === "username") return `@${value}`;
  if (value.startsWith(CHANNEL_MARK)) return `channel:${value.slice(CHANNEL_MARK.length)}`;
  return value.startsWith("-") ? `chat:${value.slice(1)}` : `user:${value}`;
}

/**
 * The fields in which requests of layer 198 name their peer. The first one that is set counts: a forward is about its
 * destination, a change of a group member about the group. Only `chatId` contains a bare id.
 */
const PEER_FIELDS: readonly string[] = ["toPeer", "peer", "channel", "chatId", "userId", "bot", "id", "toId"];

/** Requests whose `chatId` is the id of a secret chat. */
const WITHOUT_CHAT: ReadonlySet<string> = new Set(["messages.DiscardEncryption"]);

/** The classes of peers (core.telegram.org/api/peers), each with its kind and the field that contains the id. */
const PEER_CLASSES: ReadonlyMap<string, readonly [kind: string, field: string]> = new Map([
  ["InputPeerUser", ["user", "userId"]],
  ["InputPeerChat", ["chat", "chatId"]],
  ["InputPeerChannel", ["channel", "channelId"]],
  ["InputPeerUserFromMessage", ["user", "userId"]],
  ["InputPeerChannelFromMessage", ["channel", "channelId"]],
  ["InputUser", ["user", "userId"]],
  ["InputUserFromMessage", ["user", "userId"]],
  ["InputChannel", ["channel", "channelId"]],
  ["InputChannelFromMessage", ["channel", "channelId"]],
  ["PeerUser", ["user", "userId"]],
  ["PeerChat", ["chat", "chatId"]],
  ["PeerChannel", ["channel", "channelId"]],
  ["User", ["user", "id"]],
  ["Chat", ["chat", "id"]],
  ["Channel", ["channel", "id"]],
]);

/** Classes that wrap a peer. */
const PEER_WRAPPERS: ReadonlySet<string> = new Set(["InputDialogPeer", "InputNotifyPeer", "InputFolderPeer"]);

function peerKeyOf(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const className: unknown = Reflect.get(value, "className");
  if (typeof className !== "string") return undefined;
  if (className === "InputPeerSelf" || className === "InputUserSelf") return "user:self";
  if (PEER_WRAPPERS.has(className)) return peerKeyOf(Reflect.get(value, "peer"));
  const known = PEER_CLASSES.get(className);
  if (known === undefined) return undefined;
  return keyOf(known[0], Reflect.get(value, known[1]));
}

function keyOf(kind: string, value: unknown): string | undefined {
  const id = idOf(value);
  return id === undefined ? undefined : `${kind}:${id}`;
}

/** The id in a `number`, a `bigint`, or an object of the big-integer package, which is identified by its text. */
function idOf(value: unknown): string | undefined {
  if (typeof value !== "number" && typeof value !== "bigint" && typeof value !== "object") return undefined;
  const text = value === null ? "" : String(value);
  return /^[1-9]\d*$/.test(text) ? text : undefined;
}
