import type { TlObject } from "./library.js";

/** Whom a request names, and what it shows to be let speak of them. */
export interface NamedPeer {
  readonly kind: "user" | "chat" | "channel";
  readonly id: number;
  /** `null` where none is needed: the account itself, and basic groups. */
  readonly accessHash: bigint | null;
}

const PEER_FIELDS: ReadonlyMap<string, readonly [NamedPeer["kind"], string]> = new Map([
  ["InputPeerUser", ["user", "userId"]],
  ["InputPeerUserFromMessage", ["user", "userId"]],
  ["InputUser", ["user", "userId"]],
  ["InputUserFromMessage", ["user", "userId"]],
  ["InputPeerChat", ["chat", "chatId"]],
  ["InputPeerChannel", ["channel", "channelId"]],
  ["InputPeerChannelFromMessage", ["channel", "channelId"]],
  ["InputChannel", ["channel", "channelId"]],
  ["InputChannelFromMessage", ["channel", "channelId"]],
] as const);

/** The peer an input peer, input user or input channel names. `undefined`: it is none, or an empty one. */
export function namedPeer(input: unknown, selfId: number): NamedPeer | undefined {
  if (typeof input !== "object" || input === null || !("className" in input)) return undefined;
  const object = input as TlObject;
  if (object.className === "InputPeerSelf" || object.className === "InputUserSelf") {
    return { kind: "user", id: selfId, accessHash: null };
  }
  const fields = PEER_FIELDS.get(object.className);
  if (fields === undefined) return undefined;
  const [kind, id] = fields;
  const accessHash = kind === "chat" ? null : BigInt(String(object.accessHash ?? 0));
  return { kind, id: Number(object[id]), accessHash };
}

/** The key of a peer in rules and records: `"user:<id>"`, `"chat:<id>"`, `"channel:<id>"`. */
export function peerKey(peer: { readonly kind: NamedPeer["kind"]; readonly id: number }): string {
  return `${peer.kind}:${peer.id}`;
}

/** Which field of a request names the peer it is about. */
const REQUEST_FIELDS = ["peer", "channel", "toPeer"] as const;

/** The key of the peer a request is about. */
export function peerOfRequest(request: TlObject, selfId: number): string | null {
  for (const field of REQUEST_FIELDS) {
    const peer = namedPeer(request[field], selfId);
    if (peer !== undefined) return peerKey(peer);
  }
  return null;
}
