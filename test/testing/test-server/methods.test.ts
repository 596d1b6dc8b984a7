import { Api, type TelegramClient } from "telegram";
import { Raw } from "telegram/events/index.js";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startTestServer, type TelegramTestServer } from "../../../src/testing/index.js";
import { connectedClient, destroyClients, rejection } from "./clients.js";

let server: TelegramTestServer;
let client: TelegramClient;
let other: TelegramClient;

beforeEach(async () => {
  server = await startTestServer({ accounts: 2 });
  client = await connectedClient(server, server.accounts[0]);
  other = await connectedClient(server, server.accounts[1]);
});

afterEach(async () => {
  await destroyClients();
  await server.close();
});

const refusal = async (request: Api.AnyRequest, by = other): Promise<string> =>
  (await rejection(by.invoke(request))).message;

describe("contacts.resolveUsername", () => {
  test("any valid name - resolves to a user, the same in every test server", async () => {
    await using second = await startTestServer();
    const elsewhere = await connectedClient(second, second.accounts[0]);
    for (const name of ["user7", "durov", "account2"]) {
      const [here, there] = await Promise.all([client.getEntity(name), elsewhere.getEntity(name)]);
      expect({ hereClassName: here.className, thereClassName: there.className }).toEqual({
        hereClassName: "User",
        thereClassName: "User",
      });
      if (name !== "account2") expect(String(here.id)).toBe(String(there.id));
    }
    expect(await client.getEntity("channel7")).toMatchObject({ className: "Channel", title: "Channel 7" });
  });

  test("a name with the reserved prefix - is not occupied, and an invalid name is rejected", async () => {
    const resolve = (username: string): Promise<string> => refusal(new Api.contacts.ResolveUsername({ username }));
    expect(await resolve("nobody1")).toContain("USERNAME_NOT_OCCUPIED");
    expect(await resolve("a b")).toContain("USERNAME_INVALID");
  });
});

describe("an access hash", () => {
  test("of another account - is worth nothing", async () => {
    const channel = await client.getInputEntity("channel7");
    const user = (await client.getInputEntity("user7")) as Api.InputPeerUser;
    const input = new Api.InputUser({ userId: user.userId, accessHash: user.accessHash });
    const send = (peer: Api.TypeInputPeer) => new Api.messages.SendMessage({ peer, message: "hello" });
    expect(await refusal(send(channel))).toContain("CHANNEL_INVALID");
    expect(await refusal(send(user))).toContain("PEER_ID_INVALID");
    expect(await refusal(new Api.channels.GetChannels({ id: [channel as never] }))).toContain("CHANNEL_INVALID");
    expect(await refusal(new Api.users.GetFullUser({ id: input }))).toContain("USER_ID_INVALID");
    const [unseen] = await other.invoke(new Api.users.GetUsers({ id: [input] }));
    expect(unseen?.className).toBe("UserEmpty");
    expect(server.messages()).toEqual([]);
  });

  test("of the account itself - opens", async () => {
    const user = await client.getInputEntity("user7");
    const full = await client.invoke(new Api.users.GetFullUser({ id: user as never }));
    expect(String(full.fullUser.id)).toBe("100000007");
    const { chats } = await client.invoke(
      new Api.channels.GetChannels({ id: [(await client.getInputEntity("channel7")) as never] }),
    );
    expect(chats).toMatchObject([{ className: "Channel", username: "channel7" }]);
  });
});

describe("messages.sendMessage", () => {
  test("one request twice by one account - is RANDOM_ID_DUPLICATE, by another a message", async () => {
    const sending = async (by: TelegramClient) =>
      new Api.messages.SendMessage({
        peer: await by.getInputEntity("channel7"),
        message: "hello",
        randomId: 42 as never,
      });
    await client.invoke(await sending(client));
    expect(await rejection(client.invoke(await sending(client)))).toMatchObject({ code: 500 });
    await other.invoke(await sending(other));
    expect(server.messages().map(({ account, randomId }) => [account, randomId])).toEqual([
      ["account1", "42"],
      ["account2", "42"],
    ]);
    expect(server.duplicates()).toMatchObject([{ key: "42", messages: [{ id: 1 }, { id: 2 }] }]);
    expect(server.report().duplicates).toHaveLength(1);
    expect(server.duplicates({ key: ({ account, text }) => account + text })).toEqual([]);
  });

  test("one text to several peers - is no duplicate, unless texts are asked for", async () => {
    for (const peer of ["user1", "user2", "channel3"]) await client.sendMessage(peer, { message: "to all" });
    expect(server.duplicates()).toEqual([]);
    expect(server.duplicates({ key: ({ text }) => text })).toMatchObject([{ key: "to all" }]);
  });

  test("a reply, and texts of every length - are read and answered right", async () => {
    for (const message of ["a", "ab", "abc", "abcd", "é".repeat(130), "x".repeat(4_096)]) {
      expect((await client.sendMessage("channel7", { message, replyTo: 1 })).message).toBe(message);
      expect((await client.sendMessage("channel7", { message })).message).toBe(message);
    }
    const sent = server.messages().map(({ text }) => text.length);
    expect(sent).toEqual([1, 1, 2, 2, 3, 3, 4, 4, 130, 130, 4_096, 4_096]);
  });

  test("an empty text, or one too long - is refused", async () => {
    const peer = new Api.InputPeerSelf();
    expect(await refusal(new Api.messages.SendMessage({ peer, message: "" }))).toContain("MESSAGE_EMPTY");
    const long = new Api.messages.SendMessage({ peer, message: "x".repeat(4_097) });
    expect(await refusal(long)).toContain("MESSAGE_TOO_LONG");
  });
});

describe("messages.sendMedia", () => {
  const upload = async (fileId: number): Promise<void> => {
    const part = new Api.upload.SaveFilePart({ fileId: fileId as never, filePart: 0, bytes: Buffer.alloc(9) });
    expect(await client.invoke(part)).toBe(true);
  };
  const file = (id: number) => new Api.InputFile({ id: id as never, parts: 1, name: "a.txt", md5Checksum: "" });
  const media = (id: number) =>
    new Api.InputMediaUploadedDocument({ file: file(id), mimeType: "text/plain", attributes: [] });
  const peer = new Api.InputPeerSelf();

  test("an uploaded document or photo - is in the message", async () => {
    await upload(1);
    await upload(2);
    const sent = await client.invoke(new Api.messages.SendMedia({ peer, media: media(1), message: "a file" }));
    expect(JSON.stringify(sent)).toContain("MessageMediaDocument");
    const photo = new Api.InputMediaUploadedPhoto({ file: file(2) });
    await client.invoke(new Api.messages.SendMedia({ peer, media: photo, message: "a photo" }));
    const kinds = (await client.getMessages("me", { limit: 2 })).map((message) => message.media?.className);
    expect([...kinds]).toEqual(["MessageMediaPhoto", "MessageMediaDocument"]);
  });

  test("a file of another account - is missing", async () => {
    await upload(1);
    const request = new Api.messages.SendMedia({ peer, media: media(1), message: "not mine" });
    expect(await refusal(request)).toContain("FILE_PART_0_MISSING");
  });
});

describe("messages.getHistory", () => {
  test("pages - go back from the newest", async () => {
    for (let i = 1; i <= 5; i++) await client.sendMessage("channel7", { message: `${i}` });
    const page = async (offsetId: number) =>
      (await other.getMessages("channel7", { limit: 2, offsetId })).map((message) => message.id);
    expect([...(await page(0))]).toEqual([5, 4]);
    expect([...(await page(4))]).toEqual([3, 2]);
  });

  test("after an edit and a deletion - shows both", async () => {
    const [first, second] = [
      await client.sendMessage("user7", { message: "first" }),
      await client.sendMessage("user7", { message: "second" }),
    ];
    await client.editMessage("user7", { message: first.id, text: "changed" });
    await client.deleteMessages("user7", [second.id], { revoke: true });
    const texts = (await client.getMessages("user7", { limit: 9 })).map((message) => message.message);
    expect([...texts]).toEqual(["changed"]);
    expect((await client.getDialogs({})).map((dialog) => dialog.title).join()).toBe("user7");
  });
});

describe("push()", () => {
  test("an update - reaches the account's client, and no other", async () => {
    const seen: string[] = [];
    const first = new Promise<void>((resolve) => {
      client.addEventHandler((update) => {
        if (update instanceof Api.UpdateConfig) resolve(void seen.push("account1"));
      }, new Raw({}));
    });
    other.addEventHandler((update) => {
      if (update instanceof Api.UpdateConfig) seen.push("account2");
    }, new Raw({}));
    server.push("account1", new Api.UpdateShort({ update: new Api.UpdateConfig(), date: 0 }));
    await first;
    await other.getMe();
    expect(seen).toEqual(["account1"]);
  });
});
