import bigInt from "big-integer";
import type { Api as ApiTypes, TelegramClient } from "telegram";
import { beforeAll, describe, expect, test } from "vitest";
import { type ClientClasses, createClient, createClientClasses } from "../../../../adapters/client/mtproto/client.js";
import type { PeerStore } from "../../../../src/connections/client-adapter.js";
import type { KnownPeer } from "../../../../src/telegram/peer-cache.js";
import { Api, BinaryReader, loadUnderTest } from "../../../fakes/client-library.js";
import { peerMemory } from "../../../fakes/peer-memory.js";
import { sessionString } from "../../../fakes/sessions.js";

const USER: KnownPeer = {
  id: "777",
  accessHash: "-8000000000000000001",
  username: "alice",
  phone: "4912345",
  name: "A",
};
const CHANNEL: KnownPeer = { id: "-1001234567890", accessHash: "55", username: "thenews", name: "News" };
const CHAT: KnownPeer = { id: "-1005000", accessHash: "0", name: "Basic group" };
const FORMER = [USER, CHANNEL, CHAT];

let kit: ClientClasses;
beforeAll(async () => {
  kit = createClientClasses(await loadUnderTest());
});

/** A real client that is not connected: what it would ask Telegram is noted, and refused. */
async function clientOn(memory: PeerStore = peerMemory(FORMER)) {
  const asked: string[] = [];
  const settings = { apiId: 1, apiHash: "hash", clientOptions: {}, profile: {}, session: sessionString("a") };
  const client = createClient(
    kit,
    { ...settings, peers: memory },
    {
      invoke: async (request) => {
        asked.push(request.className);
        throw new Error("asked Telegram");
      },
      mainLeaseSender: () => {
        throw new Error("no sender");
      },
      leaseSender: () => Promise.reject(new Error("no sender")),
      senderFor: () => Promise.reject(new Error("no sender")),
    },
  );
  const session = client.session as unknown as { restorePeers(): Promise<void>; processEntities(of: unknown): void };
  await session.restorePeers();
  return { client: client as unknown as TelegramClient, session, asked };
}

type UserFields = ConstructorParameters<typeof ApiTypes.User>[0];
type Change = { readonly [Field in keyof UserFields]?: UserFields[Field] | undefined };

const user = (change: Change = {}): ApiTypes.User => {
  const fields = { id: bigInt(777), accessHash: bigInt(USER.accessHash), username: "Alice", firstName: "A", ...change };
  return new Api.User(fields as UserFields);
};

/** As it comes over the wire: what was left out is `null`. */
const received = <T extends { getBytes(): Buffer }>(object: T): T =>
  new BinaryReader(object.getBytes()).tgReadObject() as T;

const isUser = { className: "InputPeerUser", userId: bigInt(777), accessHash: bigInt(USER.accessHash) };
const isChannel = { className: "InputPeerChannel", channelId: bigInt("1234567890"), accessHash: bigInt(55) };
const isChat = { className: "InputPeerChat", chatId: bigInt(1_005_000) };

describe("getInputEntity() - of stored peers sends no request", () => {
  test.each<[string, unknown, object]>([
    ["number", 777, isUser],
    ["bigint", 777n, isUser],
    ["big-integer", bigInt(777), isUser],
    ["id in text", "777", isUser],
    ["PeerUser", new Api.PeerUser({ userId: bigInt(777) }), isUser],
    ["username", "alice", isUser],
    ["@username", "@Alice", isUser],
    ["link", "https://t.me/alice", isUser],
    ["+phone", "+49 123-45", isUser],
    ["display name", "Basic group", {}],
    ["marked channel number", -1001234567890, isChannel],
    ["marked channel bigint", -1001234567890n, isChannel],
    ["marked channel big-integer", bigInt("-1001234567890"), isChannel],
    ["marked channel text", "-1001234567890", isChannel],
    ["bare channel number", 1234567890, isChannel],
    ["PeerChannel", new Api.PeerChannel({ channelId: bigInt("1234567890") }), isChannel],
    ["channel username", "@thenews", isChannel],
    ["group number", -1005000, isChat],
    ["bare group number", 1005000, isChat],
    ["PeerChat", new Api.PeerChat({ chatId: bigInt(1_005_000) }), isChat],
  ])("%s", async (_, key, expected) => {
    const { client, session, asked } = await clientOn();
    const found = await client.getInputEntity(key as ApiTypes.TypeEntityLike);
    expect(asked).toEqual([]);
    expect(found).toMatchObject(expected);
    const isPeer = key instanceof Api.PeerUser || key instanceof Api.PeerChannel;
    if (isPeer) expect((session as unknown as typeof client).getInputEntity(key)).toMatchObject(expected);
  });

  test("an unknown peer - is requested once", async () => {
    const { client, asked } = await clientOn();
    await expect(client.getInputEntity("nobody1")).rejects.toThrow("asked Telegram");
    await expect(client.getInputEntity(12345)).rejects.toThrow("asked Telegram");
    await expect(client.getInputEntity(new Api.PeerUser({ userId: bigInt(1) }))).rejects.toThrow("asked Telegram");
    expect(asked).toEqual(["contacts.ResolveUsername", "users.GetUsers", "users.GetUsers"]);
  });
});

describe("processEntities()", () => {
  test("an unchanged peer - is not reported again", async () => {
    const memory = peerMemory([{ ...USER, phone: "1" }]);
    const { session } = await clientOn(memory);
    for (let round = 0; round < 3; round++) session.processEntities({ users: [user({ phone: "1" })], chats: [] });
    expect(memory.told).toEqual([]);
    session.processEntities([user({ phone: "2" })]);
    session.processEntities([user({ phone: "2" })]);
    expect(memory.told).toStrictEqual([{ ...USER, phone: "2" }]);
  });

  test.each<[string, Change]>([
    ["access hash", { accessHash: bigInt(9) }],
    ["username", { username: "other" }],
    ["name", { firstName: "B" }],
    ["no username", { username: undefined }],
  ])("another %s - is reported", async (_, change) => {
    const memory = peerMemory();
    const { session } = await clientOn(memory);
    session.processEntities({ user: user() });
    session.processEntities({ user: user(change) });
    expect(memory.told).toHaveLength(2);
  });

  test("a username that moved - belongs to the new holder, and the former one is reported without it", async () => {
    const memory = peerMemory(FORMER);
    const { client, session } = await clientOn(memory);
    session.processEntities([user({ id: bigInt(888), accessHash: bigInt(1) })]);
    expect(await client.getInputEntity("alice")).toMatchObject({ userId: bigInt(888) });
    const { username: _, ...former } = USER;
    expect(memory.told).toStrictEqual([former, { id: "888", accessHash: "1", username: "alice", name: "A" }]);
    expect(await client.getInputEntity(777)).toMatchObject(isUser);
  });

  test("a partial peer (min) - replaces nothing, but shows who has the username", async () => {
    const memory = peerMemory(FORMER);
    const { client, session, asked } = await clientOn(memory);
    session.processEntities([user({ min: true, accessHash: bigInt(1), firstName: "partly" })]);
    expect({ reported: memory.told, entity: await client.getInputEntity("alice") }).toMatchObject({
      reported: [],
      entity: isUser,
    });
    session.processEntities([user({ min: true, id: bigInt(888), accessHash: bigInt(1) })]);
    const { username: _, ...former } = USER;
    expect(memory.told).toStrictEqual([former]);
    await expect(client.getInputEntity("alice")).rejects.toThrow("asked Telegram");
    expect(asked).toEqual(["contacts.ResolveUsername"]);
  });

  describe("fields that Telegram left out", () => {
    const bare = { username: undefined, firstName: "Bob", min: true };
    const minChannel = (change: object) =>
      new Api.Channel({ id: bigInt("1234567890"), title: "N", min: true, date: 1, ...change } as never);

    test("a partial user or channel without a username - replaces nothing, and loses no other", async () => {
      const memory = peerMemory(FORMER);
      const { client, session } = await clientOn(memory);
      const other = user({ id: bigInt(999), accessHash: bigInt(3), username: "behind" });
      const users = [received(user(bare)), received(other)];
      expect(Reflect.get(users[0] as object, "username")).toBeNull();
      session.processEntities({ users, chats: [received(minChannel({ photo: new Api.ChatPhotoEmpty() }))] });
      expect(await client.getInputEntity("alice")).toMatchObject(isUser);
      expect(await client.getInputEntity("thenews")).toMatchObject(isChannel);
      expect(await client.getInputEntity("behind")).toMatchObject({ userId: bigInt(999) });
      expect(memory.told.map(({ id }) => id)).toEqual(["999"]);
    });

    test("a user in part with a list of usernames - the active one has a new holder", async () => {
      const { client, session } = await clientOn(peerMemory(FORMER));
      const usernames = [new Api.Username({ username: "Alice", active: true })];
      session.processEntities([received(user({ ...bare, id: bigInt(888), usernames }))]);
      await expect(client.getInputEntity("alice")).rejects.toThrow("asked Telegram");
    });

    test("a whole user without an access hash - keeps the known one; of an unknown one nothing is kept", async () => {
      const memory = peerMemory(FORMER);
      const { client, session } = await clientOn(memory);
      session.processEntities([received(user({ accessHash: undefined, firstName: "New" }))]);
      session.processEntities([received(user({ accessHash: undefined, id: bigInt(888), username: "nohash" }))]);
      expect(await client.getInputEntity(777)).toMatchObject(isUser);
      expect(memory.told).toMatchObject([{ id: "777", accessHash: USER.accessHash, name: "New" }]);
    });

    test("a channel without an access hash - is no basic group from then on", async () => {
      const { client, session } = await clientOn(peerMemory(FORMER));
      const whole = { min: undefined, photo: new Api.ChatPhotoEmpty(), username: "thenews" };
      session.processEntities({ chats: [received(minChannel(whole))] });
      expect(await client.getInputEntity("thenews")).toMatchObject(isChannel);
    });
  });

  test("an entity that throws when it is read - fails nothing, and loses no other", async () => {
    const { client, session } = await clientOn(peerMemory());
    const broken = user({ id: bigInt(1) });
    Object.defineProperty(broken, "username", { get: () => expect.fail("broken") });
    session.processEntities({ users: [broken, user()], chats: [] });
    session.processEntities(null);
    expect(await client.getInputEntity("alice")).toMatchObject(isUser);
  });

  test("no access hash - nothing to keep", async () => {
    const memory = peerMemory();
    const { session } = await clientOn(memory);
    session.processEntities([user({ accessHash: undefined }), new Api.UserEmpty({ id: bigInt(5) }), undefined, 7, "x"]);
    session.processEntities(true);
    expect(memory.told).toEqual([]);
  });

  test("a channel that is forbidden now - keeps its names; an unknown one is kept without", async () => {
    const memory = peerMemory(FORMER);
    const { client, session } = await clientOn(memory);
    const forbidden = (id: string) =>
      new Api.ChannelForbidden({ id: bigInt(id), accessHash: bigInt(55), title: "News", broadcast: true });
    session.processEntities({ chats: [forbidden("1234567890"), forbidden("42")] });
    expect(await client.getInputEntity("thenews")).toMatchObject(isChannel);
    expect(memory.told).toStrictEqual([{ id: "-10042", accessHash: "55" }]);
  });

  test("several usernames - the first that is active is known", async () => {
    const { client, session } = await clientOn(peerMemory());
    const usernames = [
      new Api.Username({ username: "Sold" }),
      new Api.Username({ username: "TheShop", active: true }),
      new Api.Username({ username: "TheShop2", active: true }),
    ];
    session.processEntities([user({ username: undefined, usernames })]);
    expect(await client.getInputEntity("@theshop")).toMatchObject(isUser);
  });

  test("more than the limit - the one not used for longest goes, everywhere", async () => {
    const { client, session, asked } = await clientOn(peerMemory([], 2));
    const see = (id: number) => session.processEntities([user({ id: bigInt(id), username: `name${id}` })]);
    see(1);
    see(2);
    await client.getInputEntity("name1");
    see(3);
    expect(await client.getInputEntity(1)).toMatchObject({ userId: bigInt(1) });
    await expect(client.getInputEntity(2)).rejects.toThrow();
    expect(asked).toEqual(["users.GetUsers"]);
  });
});

test("restorePeers() - a memory that fails is an empty one", async () => {
  const { client } = await clientOn({ ...peerMemory(), load: () => Promise.reject(new Error("disk full")) });
  await expect(client.getInputEntity("alice")).rejects.toThrow("asked Telegram");
});

test("load() - wherever the session was bent to, each connect begins where its string says", async () => {
  const { client } = await clientOn();
  const session = client.session as unknown as {
    load(): Promise<void>;
    setDC(dcId: number, address: string, port: number): void;
    setAuthKey(key: undefined): void;
    delete(): void;
    readonly dcId: number;
    readonly serverAddress: string;
    readonly port: number;
    getAuthKey(dcId: number): { getKey(): Buffer } | undefined;
  };
  const told = () => [session.dcId, session.serverAddress, session.port, session.getAuthKey(session.dcId)?.getKey()];
  await session.load();
  const before = told();
  expect(before[3]).toBeInstanceOf(Buffer);
  session.setDC(4, "127.0.0.2", 81);
  session.setAuthKey(undefined);
  session.delete();
  await session.load();
  expect(told()).toEqual(before);
});
