import type { Account } from "./accounts.js";
import type { StoredMessage } from "./chats.js";
import type { TlFactory, TlObject } from "./library.js";
import type { PeerDirectory, PeerReference } from "./peer-directory.js";

/** A peer as messages name it. */
export function peerObject(tl: TlFactory, peer: PeerReference): TlObject {
  return peer.kind === "user"
    ? tl("PeerUser", { userId: BigInt(peer.id) })
    : tl("PeerChannel", { channelId: BigInt(peer.id) });
}

/** A message as that account sees it. */
export function messageObject(
  tl: TlFactory,
  viewer: Account,
  peer: PeerReference,
  message: Omit<StoredMessage, "editedAt"> & { readonly editedAt?: number | null },
): TlObject {
  return tl("Message", {
    out: message.fromId === viewer.userId,
    id: message.id,
    fromId: tl("PeerUser", { userId: BigInt(message.fromId) }),
    peerId: peerObject(tl, peer),
    date: message.date,
    message: message.text,
    ...(message.media === null ? {} : { media: message.media }),
    ...(typeof message.editedAt === "number" ? { editDate: message.editedAt } : {}),
  });
}

/** The users and chats an answer about a peer brings along. */
export function peopleOf(
  world: PeerDirectory,
  viewer: Account,
  peer: PeerReference,
  tl: TlFactory,
): { readonly users: readonly TlObject[]; readonly chats: readonly TlObject[] } {
  const isUser = peer.kind === "user";
  return {
    users: isUser ? [world.user(tl, viewer, peer.id)] : [],
    chats: isUser ? [] : [world.channel(tl, viewer, peer.id)],
  };
}
