import type { Account } from "./accounts.js";
import { RpcError } from "./call.js";
import { type NamedPeer, namedPeer } from "./named-peer.js";
import type { PeerDirectory, PeerReference } from "./peer-directory.js";

const WRONG_PEER = "PEER_ID_INVALID";
const WRONG_CHANNEL = "CHANNEL_INVALID";

function isGenuine(world: PeerDirectory, account: Account, { kind, id, accessHash }: NamedPeer): boolean {
  if (kind === "chat") return false;
  const isSelf = kind === "user" && id === account.userId;
  return isSelf || world.accessHash(account, kind, id) === accessHash;
}

/** The user an `InputUser` names, `undefined` when the access hash is another account's. */
export function knownUser(world: PeerDirectory, account: Account, input: unknown): number | undefined {
  const peer = namedPeer(input, account.userId);
  return peer?.kind === "user" && isGenuine(world, account, peer) ? peer.id : undefined;
}

/** The channel an `InputChannel` names. Throws CHANNEL_INVALID for another account's access hash. */
export function knownChannel(world: PeerDirectory, account: Account, input: unknown): number {
  const peer = namedPeer(input, account.userId);
  if (peer?.kind === "channel" && isGenuine(world, account, peer)) return peer.id;
  throw new RpcError(400, WRONG_CHANNEL);
}

/** The peer itself, when the account may speak of it. Throws as Telegram does when it may not. */
export function knownPeer(world: PeerDirectory, account: Account, peer: NamedPeer | undefined): PeerReference {
  if (peer === undefined || peer.kind === "chat") throw new RpcError(400, WRONG_PEER);
  const { kind, id } = peer;
  if (isGenuine(world, account, peer)) return { kind, id };
  throw new RpcError(400, kind === "channel" ? WRONG_CHANNEL : WRONG_PEER);
}
