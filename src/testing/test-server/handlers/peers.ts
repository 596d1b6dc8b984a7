import { RpcError } from "../call.js";
import type { TlObject } from "../library.js";
import { knownChannel, knownUser } from "../peers.js";
import type { ServerHandler, Services } from "../services.js";

function getUsers({ world }: Services): ServerHandler {
  return ({ owner, request, tl }) =>
    (request.id as readonly TlObject[]).map((input) => {
      const id = knownUser(world, owner, input);
      // Telegram does not refuse the call for one user it will not show.
      return id === undefined ? tl("UserEmpty", { id: BigInt(String(input.userId)) }) : world.user(tl, owner, id);
    });
}

function getFullUser({ world }: Services): ServerHandler {
  return ({ owner, request, tl }) => {
    const id = knownUser(world, owner, request.id);
    if (id === undefined) throw new RpcError(400, "USER_ID_INVALID");
    const fullUser = tl("UserFull", {
      id: BigInt(id),
      settings: tl("PeerSettings"),
      notifySettings: tl("PeerNotifySettings"),
      commonChatsCount: 0,
    });
    return tl("users.UserFull", { fullUser, chats: [], users: [world.user(tl, owner, id)] });
  };
}

function resolveUsername({ world }: Services): ServerHandler {
  return ({ owner, request, tl }) => {
    const { kind, id } = world.resolve(String(request.username));
    const isUser = kind === "user";
    return tl("contacts.ResolvedPeer", {
      peer: isUser ? tl("PeerUser", { userId: BigInt(id) }) : tl("PeerChannel", { channelId: BigInt(id) }),
      chats: isUser ? [] : [world.channel(tl, owner, id)],
      users: isUser ? [world.user(tl, owner, id)] : [],
    });
  };
}

function getChannels({ world }: Services): ServerHandler {
  return ({ owner, request, tl }) => {
    const ids = (request.id as readonly TlObject[]).map((input) => knownChannel(world, owner, input));
    return tl("messages.Chats", { chats: ids.map((id) => world.channel(tl, owner, id)) });
  };
}

/** What an account asks about others. */
export function peerHandlers(services: Services): ReadonlyArray<readonly [string, ServerHandler]> {
  return [
    ["users.GetUsers", getUsers(services)],
    ["users.GetFullUser", getFullUser(services)],
    ["contacts.ResolveUsername", resolveUsername(services)],
    ["channels.GetChannels", getChannels(services)],
  ];
}
