import type { Account } from "../accounts.js";
import type { ApiCall } from "../api-call.js";
import { RpcError } from "../call.js";
import type { StoredMessage } from "../chats.js";
import type { TelegramLibrary, TlFactory, TlObject } from "../library.js";
import { messageObject, peopleOf } from "../message-objects.js";
import { peerKey } from "../named-peer.js";
import type { PeerReference } from "../peer-directory.js";
import { knownPeer } from "../peers.js";
import type { ServerHandler, Services } from "../services.js";
import { type Blanks, Template } from "../template.js";
import { mediaObject } from "./media.js";

const LONGEST_TEXT = 4_096;
const TEMPLATES_PER_ACCOUNT = 100;

/** Executes a message once per random id, and records it. */
function post(services: Services, call: ApiCall, peer: PeerReference, media: TlObject | null): StoredMessage {
  const { owner } = call;
  const { text, randomId } = call.sending;
  if (!owner.randomIds.add(randomId)) throw new RpcError(500, "RANDOM_ID_DUPLICATE");
  const message = services.chats.post(owner.name, peerKey(peer), owner.userId, text, media);
  services.records.messages.add({
    account: owner.name,
    peer: peerKey(peer),
    text,
    randomId: String(randomId),
    at: Date.now(),
    id: message.id,
  });
  return message;
}

/** The full answer to a sent message: how its id was chosen, and the message. */
function sentUpdates(
  { world }: Services,
  tl: TlFactory,
  owner: Account,
  peer: PeerReference,
  { id, pts, date, randomId, text }: Blanks,
  media: TlObject | null,
): TlObject {
  const message = messageObject(tl, owner, peer, { id, date, fromId: owner.userId, text, media });
  const kind = peer.kind === "user" ? "UpdateNewMessage" : "UpdateNewChannelMessage";
  const updates = [tl("UpdateMessageID", { id, randomId }), tl(kind, { message, pts, ptsCount: 1 })];
  return tl("Updates", { updates, ...peopleOf(world, owner, peer, tl), date, seq: 0 });
}

/** Writes the answers to plain messages: in short for users, in full for channels, as Telegram does. */
class SentAnswers {
  readonly #services: Services;
  readonly #templates = new WeakMap<TelegramLibrary, WeakMap<Account, Map<string, Template>>>();

  constructor(services: Services) {
    this.#services = services;
  }

  answer(call: ApiCall, peer: PeerReference, { id, date, text }: StoredMessage, randomId: bigint): Buffer {
    return this.#templateOf(call, peer).fill({ id, pts: id + 1, date, text, randomId });
  }

  #templateOf({ owner, library }: ApiCall, peer: PeerReference): Template {
    const ofLibrary = this.#templates.get(library) ?? new WeakMap<Account, Map<string, Template>>();
    this.#templates.set(library, ofLibrary);
    const known = ofLibrary.get(owner) ?? new Map<string, Template>();
    ofLibrary.set(owner, known);
    const key = peer.kind === "user" ? "user" : peerKey(peer);
    const template = known.get(key);
    if (template !== undefined) return template;
    if (known.size >= TEMPLATES_PER_ACCOUNT) known.clear();
    const made = new Template((blanks) => this.#render(library.tl, owner, peer, blanks));
    known.set(key, made);
    return made;
  }

  #render(tl: TlFactory, owner: Account, peer: PeerReference, blanks: Blanks): TlObject {
    if (peer.kind === "channel") return sentUpdates(this.#services, tl, owner, peer, blanks, null);
    const { id, pts, date } = blanks;
    return tl("UpdateShortSentMessage", { out: true, id, pts, ptsCount: 1, date });
  }
}

function sendMessage(services: Services): ServerHandler {
  const answers = new SentAnswers(services);
  return (call) => {
    const { peer: named, text, randomId } = call.sending;
    const peer = knownPeer(services.world, call.owner, named);
    if (text === "") throw new RpcError(400, "MESSAGE_EMPTY");
    if (text.length > LONGEST_TEXT) throw new RpcError(400, "MESSAGE_TOO_LONG");
    return answers.answer(call, peer, post(services, call, peer, null), randomId);
  };
}

function sendMedia(services: Services): ServerHandler {
  return (call) => {
    const { peer: named, randomId } = call.sending;
    const peer = knownPeer(services.world, call.owner, named);
    const media = mediaObject(services, call, call.request.media as TlObject);
    const { id, date, text } = post(services, call, peer, media);
    return sentUpdates(services, call.tl, call.owner, peer, { id, pts: id + 1, date, text, randomId }, media);
  };
}

/** What an account says. */
export function sendingHandlers(services: Services): ReadonlyArray<readonly [string, ServerHandler]> {
  return [
    ["messages.SendMessage", sendMessage(services)],
    ["messages.SendMedia", sendMedia(services)],
  ];
}
