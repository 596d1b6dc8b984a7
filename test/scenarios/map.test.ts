import { describe, expect, test } from "vitest";
import { type MapProgress, type MapResult, memory } from "../../src/index.js";
import { startChild } from "./child-processes.js";
import { expectPeace, stage, textsOf, until } from "./support.js";

const texts = (count: number): readonly string[] => Array.from({ length: count }, (_, at) => `message ${at + 1}`);

async function all<I, O>(results: AsyncIterable<MapResult<I, O>>): Promise<MapResult<I, O>[]> {
  const found: MapResult<I, O>[] = [];
  for await (const result of results) found.push(result);
  return found;
}

describe("map()", () => {
  test("floods, a dead account, a poison item - everything else is sent once, and nothing during a wait", async () => {
    const { server, open } = await stage({ accounts: 5 });
    const pool = await open();
    server.limit("messages.SendMessage", { calls: 15, perMs: 1_000, waitSeconds: 1 });
    server.fail({
      account: "account2",
      method: "messages.SendMessage",
      message: "FLOOD_WAIT_2",
      skip: 3,
      times: 1,
    });
    server.fail({
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
    expect(textsOf(server).toSorted()).toEqual(texts(120).toSorted());
    for (const { item, sessionId } of results) {
      if (item === "poison") continue;
      expect(server.messages().find(({ text }) => text === item)?.account).toBe(sessionId);
    }
    expect(pool.get("account4")?.state).toBe("dead");
    expect(progress.at(-1)).toMatchObject({ done: 121, total: 121, failed: 1 });
    expectPeace(server);
  });

  test("a lost answer - listed apart, and not sent again by the next run", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open({ callTimeoutMs: 500 });
    const checkpoint = { storage: memory(), name: "send", key: (text: string) => text };
    server.mute({ method: "messages.SendMessage", times: 1, skip: 3 });
    const send = () =>
      pool.map(texts(10), (client, text) => client.sendMessage("user1", { message: text }), { checkpoint });
    const first = send();
    const results = await all(first);
    const [lost] = results.filter(({ ok }) => !ok);
    expect(lost).toMatchObject({ error: { code: "OUTCOME_UNKNOWN" }, attempts: 1 });
    expect(first.uncertainKeys).toEqual([lost?.item]);
    const second = send();
    expect(await all(second)).toEqual([]);
    expect(second.uncertainKeys).toEqual([lost?.item]);
    expectPeace(server);
  });

  test("kill -9, repeatedly - no message is sent twice, none is lost", async () => {
    const current = await stage({ accounts: 5, latencyMs: 3 });
    const { server } = current;
    const acknowledged: unknown[] = [];
    for (const acknowledgedBefore of [7, 23, 41]) {
      const child = startChild(current, "workers", "mapping");
      const said = () => child.lines.filter(({ word }) => word === "acknowledged");
      await until("some are acknowledged", () => said().length >= acknowledgedBefore, 15_000);
      expect(await child.kill("SIGKILL")).toBe("SIGKILL");
      acknowledged.push(...said().map(({ item }) => item));
    }
    const last = startChild(current, "workers", "mapping");
    const { unknown } = await last.said("over");
    expect(await last.ended).toBe(0);
    const rest = last.lines.filter(({ word }) => word === "acknowledged");
    expect(rest.every(({ ok }) => ok === true)).toBe(true);
    acknowledged.push(...rest.map(({ item }) => item));
    expect(new Set(acknowledged).size).toBe(acknowledged.length);
    const sent = textsOf(server);
    expect(new Set(sent).size).toBe(sent.length);
    expect(acknowledged.filter((text) => !sent.includes(String(text)))).toEqual([]);
    // Whatever was not acknowledged was either done when it was to be handed over, or is listed.
    const open = Array.from({ length: 200 }, (_, at) => `message ${at}`).filter((text) => !sent.includes(text));
    expect(open.filter((text) => !(unknown as string[]).includes(text))).toEqual([]);
    expect((unknown as string[]).length).toBeLessThanOrEqual(15);
    expectPeace(server);
  });

  test("a second process with the same name - is refused, and does not disturb the first", async () => {
    const current = await stage({ accounts: 2, latencyMs: 25 });
    const { server } = current;
    const first = startChild(current, "workers", "mapping");
    await first.said("acknowledged");
    const second = startChild(current, "workers", "mapping");
    expect((await second.said("refused")).message).toContain('"newsletter" belongs to a run that is still active');
    expect(await second.ended).toBe(0);
    expect((await first.said("over")).unknown).toEqual([]);
    expect(textsOf(server)).toHaveLength(200);
    expectPeace(server);
  });
});
