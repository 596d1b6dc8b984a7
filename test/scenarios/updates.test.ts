import { describe, expect, onTestFinished, test } from "vitest";
import { OptionsError } from "../../src/index.js";
import { libraryName, NewMessage, type NewMessageEvent, telegramAdapter } from "../fakes/client-library.js";
import { Api, callsOf, nameOf, type OpenOptions, type Stage, stage, until } from "./support.js";

type Event = InstanceType<typeof NewMessageEvent>;

const update = (text: string, pts: number) =>
  new Api.UpdateShortMessage({
    id: pts,
    userId: 100000001n,
    message: text,
    pts,
    ptsCount: 1,
    date: 1,
  } as never) as never;

/** A message in a group, with the peers that came with it. */
const inGroup = (text: string, pts: number, users: readonly object[]) =>
  new Api.Updates({
    updates: [
      new Api.UpdateNewChannelMessage({
        message: new Api.Message({
          id: pts,
          peerId: new Api.PeerChannel({ channelId: 77n as never }),
          fromId: new Api.PeerUser({ userId: 555n as never }),
          date: 1,
          message: text,
        }),
        pts,
        ptsCount: 1,
      }),
    ],
    users: users as never,
    chats: [
      new Api.Channel({
        id: 77n,
        accessHash: 6n,
        title: "C",
        photo: new Api.ChatPhotoEmpty(),
        date: 1,
        megagroup: true,
      } as never),
    ],
    date: 1,
    seq: 0,
  });

/** A pool whose clients note what they are told by updates. */
async function listening({ open, server }: Stage, options: OpenOptions = {}) {
  const seen: string[] = [];
  const onConnect: NonNullable<OpenOptions["client"]>["onConnect"] = (client, id) =>
    client.addEventHandler((event: Event) => void seen.push(`${id} ${event.message.message}`), new NewMessage({}));
  const pool = await open({ ...options, client: { onConnect, ...options.client } });
  let pts = 0;
  /** An update, and a call after it on the same connection: what came before its answer came in time. */
  const arrive = async (text: string): Promise<void> => {
    for (const { name } of server.accounts) server.push(name, update(text, ++pts));
    for (const { name } of server.accounts) {
      if (pool.get(name)?.state === "free") await pool.use(nameOf, { id: name });
    }
  };
  return { pool, seen, arrive };
}

describe("updates", () => {
  test("false, the default - Telegram sends none, whatever is called", async () => {
    const scene = await stage();
    const { pool, seen, arrive } = await listening(scene);
    await pool.use(async (client) => {
      expect((await client.getMe()).className).toBe("User");
      await client.sendMessage("user1", { message: "hello" });
      await Promise.all(["a", "b", "c"].map((message) => client.sendMessage("user1", { message })));
      await client.invoke(new Api.InvokeWithoutUpdates({ query: new Api.updates.GetState() }));
    });
    await arrive("one");
    expect(seen).toEqual([]);
    expect(callsOf(scene.server, "messages.SendMessage")).toHaveLength(4);
    expect(scene.server.calls().every(({ outcome }) => outcome === "ok")).toBe(true);
  });

  test("false - nor after a reconnect, nor over another data center's connection", async () => {
    const scene = await stage();
    const { pool, seen, arrive } = await listening(scene);
    await pool.use(nameOf);
    scene.server.disconnect();
    await pool.use(nameOf);
    await arrive("one");
    expect(seen).toEqual([]);
  });

  test("true - they come, under a lease and beside it", async () => {
    const scene = await stage();
    const { pool, seen, arrive } = await listening(scene, { client: { updates: true } });
    await pool.use(nameOf);
    await arrive("one");
    await until("it was told", () => seen.length === 1);
    expect(seen).toEqual(["account1 one"]);
  });

  test("keepConnected - that account receives updates, the others do not", async () => {
    const scene = await stage({ accounts: 2 });
    const { pool, seen, arrive } = await listening(scene);
    await pool.update("account2", { profile: { keepConnected: true } });
    const connects = () =>
      scene.server.calls().filter(({ isConnect, account, outcome }) => {
        return isConnect && account === "account2" && outcome === "ok";
      });
    await until("it is connected", () => connects().length === 1);
    await pool.use(nameOf, { id: "account1" });
    await arrive("one");
    await until("it was told", () => seen.length === 1);
    scene.server.disconnect("account2");
    await until("it is connected again", () => connects().length === 2);
    await arrive("two");
    await until("it was told again", () => seen.includes("account2 two"));
    expect(seen.filter((text) => text.startsWith("account1"))).toEqual([]);
  });

  test("neither true nor false - OptionsError", () => {
    expect(() => telegramAdapter({ apiId: 1, apiHash: "x", updates: "yes" as never })).toThrow(OptionsError);
  });
});

describe("peers in part (min)", () => {
  const inPart = () => new Api.User({ id: 555n, accessHash: 1n, firstName: "Bob", min: true } as never);
  const group = () => new Api.InputPeerChannel({ channelId: 77n as never, accessHash: 6n as never });

  test("without a username, in an answer - a read and a write succeed, and what came with them is learnt", async () => {
    const { server, open } = await stage();
    server.handle("messages.SendMessage", () => inGroup("hello", 9, [inPart()]));
    const pool = await open();
    const sent = await pool.invoke(new Api.messages.SendMessage({ peer: group(), message: "hello" }));
    expect(sent.className).toBe("Updates");
    const found = await pool.use((client) => client.getInputEntity(new Api.PeerChannel({ channelId: 77n as never })));
    expect(found).toMatchObject({ className: "InputPeerChannel" });
    expect(callsOf(server, "messages.SendMessage")).toHaveLength(1);
  });

  test.each([
    ["in part", () => [inPart()]],
    ["of whom nothing came but an id", () => [new Api.UserEmpty({ id: 555n as never })]],
  ])("of an update, a user %s - the update arrives", async (_, users) => {
    const scene = await stage();
    const { pool, seen } = await listening(scene, { client: { updates: true } });
    await pool.use(nameOf);
    scene.server.push("account1", inGroup("one", 1, users()) as never);
    await until("it was told", () => seen.length === 1);
  });
});

describe("handlers that throw", () => {
  const warningsOf = (): string[] => {
    const warned: string[] = [];
    const note = (warning: Error) => void warned.push(warning.message);
    process.on("warning", note);
    onTestFinished(() => void process.off("warning", note));
    return warned;
  };
  /** Sends two updates, and waits until the last handler has got both. */
  const twice = async ({ server }: Stage, seen: readonly unknown[]): Promise<void> => {
    for (const pts of [1, 2]) server.push("account1", update(`update ${pts}`, pts));
    await until("both came", () => seen.length === 2);
    await new Promise((resolve) => setImmediate(resolve));
  };
  const fails = (): never => {
    throw new Error("a handler's own");
  };

  test.each([
    ["a handler", () => [fails, new NewMessage({})] as const],
    ["an asynchronous handler", () => [async () => fails(), new NewMessage({})] as const],
    ["a filter", () => [() => {}, new NewMessage({ func: fails })] as const],
  ])("%s of a lease - one process warning; the handlers behind it get their events", async (_, make) => {
    const scene = await stage();
    const warned = warningsOf();
    const pool = await scene.open({ client: { updates: true } });
    using lease = await pool.acquire();
    const seen: unknown[] = [];
    const [handler, builder] = make();
    lease.client.addEventHandler(handler, builder);
    lease.client.addEventHandler((event: Event) => void seen.push(event), new NewMessage({}));
    await twice(scene, seen);
    expect(warned.filter((text) => text.includes("a handler's own"))).toHaveLength(1);
  });

  test("client.onError - is called with each error instead", async () => {
    const scene = await stage();
    const warned = warningsOf();
    const told: unknown[] = [];
    const seen: unknown[] = [];
    const onConnect: NonNullable<OpenOptions["client"]>["onConnect"] = (client) => {
      client.onError = async (error) => void told.push(error);
      client.addEventHandler(fails, new NewMessage({}));
      client.addEventHandler((event: Event) => void seen.push(event), new NewMessage({}));
    };
    const pool = await scene.open({ client: { updates: true, onConnect } });
    await pool.use(nameOf);
    await twice(scene, seen);
    expect({ told: told.length, warned }).toEqual({ told: 2, warned: [] });
  });

  test("removeEventHandler(), listEventHandlers() - accept a handler as it was added", async () => {
    const { open } = await stage();
    const own = () => {};
    const pool = await open({
      client: {
        onConnect: (client) => {
          client.addEventHandler(own, new NewMessage({}));
          client.addEventHandler(fails, new NewMessage({}));
          expect(client.listEventHandlers().map(([, handler]) => handler)).toEqual([own, fails]);
          client.removeEventHandler(own, new NewMessage({}));
          expect(client.listEventHandlers().map(([, handler]) => handler)).toEqual([fails]);
        },
      },
    });
    expect(await pool.use(nameOf)).toBe("account1");
  });

  test.runIf(libraryName === "teleproto")("a middleware of client.updates - one process warning", async () => {
    const scene = await stage();
    const warned = warningsOf();
    const pool = await scene.open({ client: { updates: true } });
    using lease = await pool.acquire();
    const seen: unknown[] = [];
    (lease.client as unknown as { updates: { use(middleware: () => never): void } }).updates.use(fails);
    lease.client.addEventHandler((event: Event) => void seen.push(event), new NewMessage({}));
    await twice(scene, seen);
    await until("it was told", () => warned.length > 0);
    expect(warned).toHaveLength(1);
  });
});
