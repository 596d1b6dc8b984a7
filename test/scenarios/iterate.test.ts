import { expect, test } from "vitest";
import { callsOf, message, rejection, stage } from "./support.js";

test("iterate() - client.iterMessages() continues for as long as it is read, under one lease", async () => {
  const { server, open } = await stage({ accounts: 1 });
  const pool = await open();
  for (let index = 0; index < 5; index++) await pool.invoke(message(`m${index}`));
  const texts: string[] = [];
  for await (const { message: text } of pool.iterate((client) => client.iterMessages("user1", { limit: 5 }))) {
    texts.push(text);
    expect(pool.get("account1")?.state).toBe("leased");
  }
  expect(texts).toEqual(["m4", "m3", "m2", "m1", "m0"]);
  expect({ state: pool.get("account1")?.state, violations: server.violations() }).toEqual({
    state: "free",
    violations: [],
  });
});

test("use() that returns client.iterMessages() - the error says what to do, and nothing is sent", async () => {
  const { server, open } = await stage({ accounts: 1 });
  const pool = await open();
  await pool.invoke(message("hello"));
  const before = callsOf(server, "messages.GetHistory").length;
  const messages = await pool.use((client) => client.iterMessages("user1", { limit: 5 }));
  const error = await rejection(messages[Symbol.asyncIterator]().next());
  expect(error.message).toContain("pool.iterate(work, options)");
  expect(callsOf(server, "messages.GetHistory")).toHaveLength(before);
});
