import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { sqlite } from "../../adapters/storage/sqlite.js";
import { aesGcm, memory, NoSessionAvailableError, type SessionPoolOptions } from "../../src/index.js";
import { callsOf, message, rejection, stage, textsOf, until } from "./support.js";

const RESOLVE = "contacts.ResolveUsername";
const CHANNEL_ID = "channel:1000000007";
const sentBy = (server: Awaited<ReturnType<typeof stage>>["server"]): readonly string[] =>
  server.messages().map(({ account }) => account);

test.each<[string, Pick<SessionPoolOptions<unknown>, "encryption">]>([
  ["as it is", {}],
  ["encrypted", { encryption: aesGcm(randomBytes(32)) }],
])(
  "knows, a storage that is kept %s - the session that knows a channel sends without asking for it",
  async (_, options) => {
    const { server, open } = await stage({ accounts: 5 });
    const first = await open(options);
    await first.use((client) => client.getInputEntity("channel7"), { id: "account4" });
    await first.close();
    const asked = callsOf(server, RESOLVE).length;

    const second = await open(options);
    await second.invoke(message("by name", "channel7"), { knows: "@Channel7" });
    await second.use((client) => client.sendMessage("-1001000000007", { message: "by id" }), { knows: CHANNEL_ID });
    const iterated = second.iterate((client) => client.iterMessages("channel7", { limit: 1 }), { knows: "@channel7" });
    for await (const _ of iterated);
    const items = ["one", "two", "three"];
    const run = second.map(items, (client, text) => client.sendMessage("channel7", { message: text }), {
      knows: "@channel7",
    });
    for await (const { ok } of run) expect(ok).toBe(true);
    expect(textsOf(server).slice().sort()).toEqual(["by id", "by name", "one", "three", "two"]);
    expect(new Set(sentBy(server))).toEqual(new Set(["account4"]));
    expect(callsOf(server, RESOLVE)).toHaveLength(asked);
  },
);

test("knows, a peer that no session knows - rejects; with resolve one session asks for it, and serves from then on", async () => {
  const { server, open } = await stage({ accounts: 3 });
  const pool = await open();
  const send = (text: string, resolve?: boolean): Promise<unknown> =>
    pool.invoke(message(text, "channel7"), { knows: "@channel7", resolve });
  expect(await rejection(send("never"))).toBeInstanceOf(NoSessionAvailableError);
  for (const text of ["one", "two", "three"]) await send(text, true);
  await send("four");
  expect(textsOf(server)).toEqual(["one", "two", "three", "four"]);
  expect(new Set(sentBy(server)).size).toBe(1);
  expect(callsOf(server, RESOLVE)).toHaveLength(1);
});

test("knows, without peers in the storage - what open clients have learned counts", async () => {
  const { server, open } = await stage({ accounts: 3 });
  const { peers: _, ...records } = bound(memory());
  const pool = await open({ storage: records });
  await pool.use((client) => client.getInputEntity("channel7"), { id: "account2" });
  await pool.invoke(message("hello", "channel7"), { knows: "@channel7" });
  expect(sentBy(server)).toEqual(["account2"]);
  expect(callsOf(server, RESOLVE)).toHaveLength(1);
});

test("knows, a caller that waits - gets a session as soon as its client learns of the peer", async () => {
  const { server, open } = await stage({ accounts: 2 });
  const pool = await open();
  await pool.use((client) => client.getInputEntity("channel7"), { id: "account1" });
  using held = await pool.acquire({ id: "account1" });
  const sent = pool.invoke(message("hello", "channel7"), { knows: "@channel7" });
  await until("it waits", () => pool.status().waiters === 1);
  await pool.use((client) => client.getInputEntity("channel7"), { id: "account2" });
  await sent;
  expect({ by: sentBy(server), held: held.id }).toEqual({ by: ["account2"], held: "account1" });
});

test("knows, two pools on one file - what one has learned and written the other finds", async () => {
  const { server, file, open } = await stage({ accounts: 3 });
  const first = await open({ storage: sqlite(file) });
  const second = await open({ storage: sqlite(file), idleTimeoutMs: 0 });
  await second.use((client) => client.getInputEntity("channel7"), { id: "account3" });
  await second.close();
  await first.invoke(message("hello", "channel7"), { knows: CHANNEL_ID, wait: 5_000 });
  expect(sentBy(server)).toEqual(["account3"]);
  expect(callsOf(server, RESOLVE)).toHaveLength(1);
});

test("knows, a stale access hash - Telegram's error comes through, as without knows", async () => {
  const { server, file, open } = await stage();
  const storage = sqlite(file);
  const pool = await open();
  await storage.open?.();
  await storage.peers?.save("account1", [{ id: "-1001000000007", accessHash: "666", username: "channel7" }]);
  await storage.close?.();
  const error = await rejection(pool.invoke(message("hello", "channel7"), { knows: "@channel7" }));
  expect(String(error)).toMatch(/CHANNEL_?INVALID/i);
  expect(textsOf(server)).toEqual([]);
});

/** The storage with methods that can be taken apart. */
function bound(storage: ReturnType<typeof memory>): ReturnType<typeof memory> {
  return {
    open: async () => storage.open?.(),
    list: () => storage.list(),
    read: (id) => storage.read(id),
    write: (id, expected, data) => storage.write(id, expected, data),
    shared: storage.shared,
    ...(storage.peers === undefined ? {} : { peers: storage.peers }),
    close: async () => storage.close?.(),
  };
}
