import bigInt from "big-integer";
import { Api } from "telegram";
import { describe, expect, test } from "vitest";
import { isPeerKey, nameOfReference, parsePeerReference, peerOf } from "../../src/telegram/peers.js";

const id = bigInt(77);
const accessHash = bigInt(5);
const channel = new Api.InputPeerChannel({ channelId: bigInt("1234567890123"), accessHash });

describe("peerOf() - peers", () => {
  const send = (peer: unknown) => ({ className: "messages.SendMessage", peer }) as { className: string };

  test.each<[string | undefined, unknown]>([
    ["user:77", new Api.InputPeerUser({ userId: id, accessHash })],
    ["chat:77", new Api.InputPeerChat({ chatId: id })],
    ["channel:1234567890123", channel],
    ["user:77", new Api.InputPeerUserFromMessage({ peer: channel, msgId: 1, userId: id })],
    ["channel:77", new Api.InputPeerChannelFromMessage({ peer: channel, msgId: 1, channelId: id })],
    ["user:77", new Api.InputUser({ userId: id, accessHash })],
    ["channel:77", new Api.InputChannel({ channelId: id, accessHash })],
    ["user:77", new Api.PeerUser({ userId: id })],
    ["channel:77", new Api.PeerChannel({ channelId: id })],
    ["user:self", new Api.InputPeerSelf()],
    ["user:self", new Api.InputUserSelf()],
    ["user:77", new Api.InputDialogPeer({ peer: new Api.InputPeerUser({ userId: id, accessHash }) })],
    ["user:77", { className: "PeerUser", userId: 77n }],
    ["user:77", { className: "PeerUser", userId: 77 }],
    [undefined, new Api.InputPeerEmpty()],
    [undefined, { className: "PeerUser", userId: -77 }],
    [undefined, { className: "InputPhoneCall", id: 77 }],
    [undefined, "durov"],
    [undefined, null],
  ])("%s", (expected, peer) => expect(peerOf(send(peer))).toBe(expected));
});

describe("peerOf() - requests", () => {
  test("where a forward goes, not where it comes from", () => {
    const fromPeer = new Api.InputPeerSelf();
    expect(peerOf(new Api.messages.ForwardMessages({ fromPeer, toPeer: channel, id: [1] }))).toBe(
      "channel:1234567890123",
    );
    expect(peerOf(new Api.messages.ForwardMessages({ fromPeer, toPeer: "durov", id: [1] }))).toBeUndefined();
  });

  test("the group, not its member", () => {
    const userId = new Api.InputUser({ userId: bigInt(9), accessHash });
    expect(peerOf(new Api.messages.AddChatUser({ chatId: id, userId, fwdLimit: 0 }))).toBe("chat:77");
    expect(peerOf(new Api.channels.GetParticipant({ channel, participant: userId }))).toBe("channel:1234567890123");
  });

  test("inside wrappers", () => {
    const query = new Api.messages.SendMessage({ peer: channel, message: "hi" });
    expect(peerOf(new Api.InvokeWithoutUpdates({ query }))).toBe("channel:1234567890123");
  });

  test("none, several, or a secret chat's number", () => {
    expect(peerOf(new Api.help.GetConfig())).toBeUndefined();
    expect(peerOf(new Api.users.GetUsers({ id: [new Api.InputUserSelf()] }))).toBeUndefined();
    expect(peerOf(new Api.users.GetFullUser({ id: new Api.InputUserSelf() }))).toBe("user:self");
    expect(peerOf(new Api.messages.DiscardEncryption({ chatId: 77 }))).toBeUndefined();
  });
});

test("isPeerKey() - accepts what peerOf() returns and nothing else", () => {
  const good = ["user:1", "chat:77", "channel:1234567890123", "user:self"];
  const bad = ["user:", "user:0", "user:-1", "user:01", "bot:1", "77", "channel:self", "user:1 ", " user:1", "user:x"];
  expect(good.filter(isPeerKey)).toEqual(good);
  expect(bad.filter(isPeerKey)).toEqual([]);
});

describe("parsePeerReference()", () => {
  test.each([
    ["@News_1", "username", "news_1", "@news_1"],
    ["user:777", "id", "777", "user:777"],
    ["chat:5000", "id", "-5000", "chat:5000"],
    ["channel:1234567890", "id", "-1001234567890", "channel:1234567890"],
  ] as const)("%s - by %s", (text, field, value, name) => {
    const reference = parsePeerReference(text);
    expect(reference).toEqual({ field, value });
    expect(reference && nameOfReference(reference)).toBe(name);
  });
});
