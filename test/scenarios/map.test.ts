import { describe, expect, test } from "vitest";
import { type MapProgress, type MapResult, memory } from "../../src/index.js";
import { expectPeace, stage, textsOf } from "./support.js";

const texts = (count: number): readonly string[] => Array.from({ length: count }, (_, at) => `message ${at + 1}`);

async function all<I, O>(results: AsyncIterable<MapResult<I, O>>): Promise<MapResult<I, O>[]> {
  const found: MapResult<I, O>[] = [];
  for await (const result of results) found.push(result);
  return found;
}

describe("map()", () => {
  test("floods, a dead account, a poison item - everything else is sent once, and nothing into a wait", async () => {
    const { dataCentre, open } = await stage({ accounts: 5 });
    const pool = await open();
    dataCentre.limit("messages.SendMessage", { calls: 15, perMs: 1_000, waitSeconds: 1 });
    dataCentre.fail({
      account: "account2",
      method: "messages.SendMessage",
      message: "FLOOD_WAIT_2",
      skip: 3,
      times: 1,
    });
    dataCentre.fail({
      account: "account4",
      message: "AUTH_KEY_UNREGISTERED",
      code: 401,
      method: "messages.SendMessage",
    });
    const progress: MapProgress[] = [];
    const items = [...texts(120), "poison"];
    const results = await all(
      pool.map(
        items,
        async (client, text) => {
          if (text === "poison") throw new TypeError(text);
          await client.sendMessage("user1", { message: text });
        },
        {
          onProgress: (told) => progress.push(told),
          checkpoint: { storage: memory(), name: "send", key: (text) => text },
        },
      ),
    );
    expect(results).toHaveLength(121);
    expect(results.filter(({ ok }) => !ok)).toMatchObject([{ item: "poison", error: { name: "TypeError" } }]);
    expect(textsOf(dataCentre).toSorted()).toEqual(texts(120).toSorted());
    for (const { item, sessionId } of results) {
      if (item === "poison") continue;
      expect(dataCentre.messages().find(({ text }) => text === item)?.account).toBe(sessionId);
    }
    expect(pool.get("account4")?.state).toBe("dead");
    expect(progress.at(-1)).toMatchObject({ done: 121, total: 121, failed: 1 });
    expectPeace(dataCentre);
  });

  test("a lost answer - listed apart, and not sent again by the next run", async () => {
    const { dataCentre, open } = await stage({ accounts: 2 });
    const pool = await open({ callTimeoutMs: 500 });
    const checkpoint = { storage: memory(), name: "send", key: (text: string) => text };
    dataCentre.mute({ method: "messages.SendMessage", times: 1, skip: 3 });
    const send = () =>
      pool.map(texts(10), (client, text) => client.sendMessage("user1", { message: text }), { checkpoint });
    const first = send();
    const results = await all(first);
    const [lost] = results.filter(({ ok }) => !ok);
    expect(lost).toMatchObject({ error: { code: "OUTCOME_UNKNOWN" }, attempts: 1 });
    expect(first.unknown).toEqual([lost?.item]);
    const second = send();
    expect(await all(second)).toEqual([]);
    expect(second.unknown).toEqual([lost?.item]);
    expectPeace(dataCentre);
  });
});
