import { RpcError } from "../call.js";
import type { TlObject } from "../library.js";
import { messageObject, peerObject, peopleOf } from "../message-objects.js";
import { namedPeer, peerKey } from "../named-peer.js";
import type { PeerReference } from "../peer-directory.js";
import { knownChannel, knownPeer } from "../peers.js";
import type { ServerHandler, Services } from "../services.js";

const MOST_MESSAGES = 100;

function getHistory(services: Services): ServerHandler {
  return ({ owner, request, tl }) => {
    const peer = knownPeer(services.world, owner, namedPeer(request.peer, owner.userId));
    const limit = Math.min(Number(request.limit), MOST_MESSAGES);
    const found = services.chats.recent(owner.name, peerKey(peer), limit, Number(request.offsetId));
    const messages = found.map((message) => messageObject(tl, owner, peer, message));
    const people = peopleOf(services.world, owner, peer, tl);
    if (peer.kind === "user") return tl("messages.Messages", { messages, ...people });
    const count = services.chats.count(owner.name, peerKey(peer));
    return tl("messages.ChannelMessages", { pts: 1, count, messages, topics: [], ...people });
  };
}

function editMessage(services: Services): ServerHandler {
  return ({ owner, request, tl }) => {
    const peer = knownPeer(services.world, owner, namedPeer(request.peer, owner.userId));
    const text = String(request.message ?? "");
    const edited = services.chats.edit(owner.name, peerKey(peer), Number(request.id), text);
    if (edited === undefined) throw new RpcError(400, "MESSAGE_ID_INVALID");
    const kind = peer.kind === "user" ? "UpdateEditMessage" : "UpdateEditChannelMessage";
    const update = tl(kind, { message: messageObject(tl, owner, peer, edited), pts: edited.id + 1, ptsCount: 1 });
    const date = edited.editedAt ?? edited.date;
    return tl("Updates", { updates: [update], ...peopleOf(services.world, owner, peer, tl), date, seq: 0 });
  };
}

function deleteMessages(services: Services): ServerHandler {
  return ({ owner, request, tl }) => {
    const channel = request.channel as TlObject | undefined;
    const key = channel === undefined ? null : `channel:${knownChannel(services.world, owner, channel)}`;
    const ptsCount = services.chats.delete(owner.name, key, new Set(request.id as readonly number[]));
    return tl("messages.AffectedMessages", { pts: 1, ptsCount });
  };
}

function getDialogs(services: Services): ServerHandler {
  return ({ owner, request, tl }) => {
    const keys = services.chats.peersOf(owner.name).slice(0, Math.min(Number(request.limit), MOST_MESSAGES));
    const peers = keys.map((key): PeerReference => ({ kind: "user", id: Number(key.split(":")[1]) }));
    const last = peers.map((peer) => services.chats.recent(owner.name, peerKey(peer), 1, 0)[0]);
    const dialogs = peers.map((peer, i) =>
      tl("Dialog", {
        peer: peerObject(tl, peer),
        topMessage: last[i]?.id ?? 0,
        readInboxMaxId: 0,
        readOutboxMaxId: 0,
        unreadCount: 0,
        unreadMentionsCount: 0,
        unreadReactionsCount: 0,
        notifySettings: tl("PeerNotifySettings"),
      }),
    );
    const messages = peers.flatMap((peer, i) => {
      const message = last[i];
      return message === undefined ? [] : [messageObject(tl, owner, peer, message)];
    });
    const users = peers.map((peer) => services.world.user(tl, owner, peer.id));
    return tl("messages.Dialogs", { dialogs, messages, chats: [], users });
  };
}

/** What an account does with messages that are there. */
export function messageHandlers(services: Services): ReadonlyArray<readonly [string, ServerHandler]> {
  return [
    ["messages.GetHistory", getHistory(services)],
    ["messages.EditMessage", editMessage(services)],
    ["messages.DeleteMessages", deleteMessages(services)],
    ["channels.DeleteMessages", deleteMessages(services)],
    ["messages.GetDialogs", getDialogs(services)],
  ];
}
