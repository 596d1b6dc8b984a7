import type { TlObject } from "./library.js";
import { readBytes } from "./messages.js";
import { type NamedPeer, namedPeer } from "./named-peer.js";

/** What the test server has to know of a message to send it. */
export interface SendFields {
  readonly peer: NamedPeer | undefined;
  readonly text: string;
  readonly randomId: bigint;
}

// Of messages.sendMessage only the order of the fields up to the random id matters here: layers 198 and 229.
const SEND_MESSAGE: ReadonlySet<number> = new Set([0x983f9745, 0xfef48f62]);
const HAS_REPLY = 1;
const PEER_SELF = 0x7da07ec9;
const PEER_USER = 0xdde8a54c;
const PEER_CHAT = 0x35a95cb9;
const PEER_CHANNEL = 0x27bcbbfc;

function wirePeer(query: Buffer, offset: number, selfId: number): { peer: NamedPeer; end: number } | undefined {
  const kind = query.readUInt32LE(offset);
  if (kind === PEER_SELF) return { peer: { kind: "user", id: selfId, accessHash: null }, end: offset + 4 };
  if (kind !== PEER_USER && kind !== PEER_CHANNEL && kind !== PEER_CHAT) return undefined;
  const id = Number(query.readBigInt64LE(offset + 4));
  if (kind === PEER_CHAT) return { peer: { kind: "chat", id, accessHash: null }, end: offset + 12 };
  const accessHash = query.readBigInt64LE(offset + 12);
  return { peer: { kind: kind === PEER_USER ? "user" : "channel", id, accessHash }, end: offset + 20 };
}

/**
 * Reads a plain `messages.sendMessage` without the library, which takes ten times as long. `undefined` when it is
 * anything else: then the library has to.
 */
export function readSendMessage(query: Buffer, selfId: number): SendFields | undefined {
  if (!SEND_MESSAGE.has(query.readUInt32LE(0)) || (query.readUInt32LE(4) & HAS_REPLY) !== 0) return undefined;
  const found = wirePeer(query, 8, selfId);
  if (found === undefined) return undefined;
  const text = readBytes(query, found.end);
  const size = ((text.length < 254 ? 1 : 4) + text.length + 3) & ~3;
  return { peer: found.peer, text: text.toString(), randomId: query.readBigInt64LE(found.end + size) };
}

/** The same of a request the library has read. */
export function sendFieldsOf(request: TlObject, selfId: number): SendFields {
  return {
    peer: namedPeer(request.peer, selfId),
    text: String(request.message ?? ""),
    randomId: BigInt(String(request.randomId)),
  };
}
