import { describe, expect, test } from "vitest";
import { OptionsError } from "../../src/index.js";
import { NewMessage, type NewMessageEvent, telegramAdapter } from "../matrix/telegram.js";
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

/** A pool whose clients note what they are told by updates. */
async function listening({ open, dataCentre }: Stage, options: OpenOptions = {}) {
  const seen: string[] = [];
  const onConnect: NonNullable<OpenOptions["client"]>["onConnect"] = (client, id) =>
    client.addEventHandler((event: Event) => void seen.push(`${id} ${event.message.message}`), new NewMessage({}));
  const pool = await open({ ...options, client: { onConnect, ...options.client } });
  let pts = 0;
  /** An update, and a call after it on the same connection: what came before its answer came in time. */
  const arrive = async (text: string): Promise<void> => {
    for (const { name } of dataCentre.accounts) dataCentre.push(name, update(text, ++pts));
    for (const { name } of dataCentre.accounts) {
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
    expect(callsOf(scene.dataCentre, "messages.SendMessage")).toHaveLength(4);
    expect(scene.dataCentre.calls().every(({ outcome }) => outcome === "ok")).toBe(true);
  });

  test("false - nor after a reconnect, nor over another data centre's connection", async () => {
    const scene = await stage();
    const { pool, seen, arrive } = await listening(scene);
    await pool.use(nameOf);
    scene.dataCentre.disconnect();
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

  test("keepConnected - that account listens, the others do not", async () => {
    const scene = await stage({ accounts: 2 });
    const { pool, seen, arrive } = await listening(scene);
    await pool.update("account2", { profile: { keepConnected: true } });
    const connects = () =>
      scene.dataCentre.calls().filter(({ isConnect, account, outcome }) => {
        return isConnect && account === "account2" && outcome === "ok";
      });
    await until("it is connected", () => connects().length === 1);
    await pool.use(nameOf, { id: "account1" });
    await arrive("one");
    await until("it was told", () => seen.length === 1);
    scene.dataCentre.disconnect("account2");
    await until("it is connected again", () => connects().length === 2);
    await arrive("two");
    await until("it was told again", () => seen.includes("account2 two"));
    expect(seen.filter((text) => text.startsWith("account1"))).toEqual([]);
  });

  test("neither true nor false - OptionsError", () => {
    expect(() => telegramAdapter({ apiId: 1, apiHash: "x", updates: "yes" as never })).toThrow(OptionsError);
  });
});
