import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { importAccounts } from "../../src/import/index.js";
import { parseSession } from "../../src/index.js";
import { callsOf, stage } from "./support.js";

interface Database {
  run(statement: string, parameters: readonly unknown[], done: (error: Error | null) => void): void;
  close(done: (error: Error | null) => void): void;
}

/** Writes a session file as Telethon 1.24 does (version 7). */
async function writeTelethonFile(path: string, session: string, peers: readonly (readonly unknown[])[]): Promise<void> {
  const require = createRequire(createRequire(import.meta.url).resolve("@keyv/sqlite"));
  const { Database: Sqlite } = require("sqlite3") as { readonly Database: new (path: string) => Database };
  const database = new Sqlite(path);
  const run = (statement: string, ...parameters: readonly unknown[]): Promise<void> =>
    new Promise((resolve, reject) => {
      database.run(statement, parameters, (error) => (error === null ? resolve() : reject(error)));
    });
  const { dcId, serverAddress, port, authKey } = parseSession(session);
  await run("CREATE TABLE version (version integer primary key)");
  await run("INSERT INTO version VALUES (7)");
  await run(
    "CREATE TABLE sessions (dc_id integer primary key, server_address text, port integer, auth_key blob, takeout_id integer)",
  );
  await run("INSERT INTO sessions VALUES (?, ?, ?, ?, NULL)", dcId, serverAddress, port, Buffer.from(authKey));
  await run(
    "CREATE TABLE entities (id integer primary key, hash integer not null, username text, phone integer, name text, date integer)",
  );
  for (const peer of peers) await run("INSERT INTO entities VALUES (?, ?, ?, NULL, ?, 0)", ...peer);
  await new Promise<void>((resolve, reject) => database.close((error) => (error === null ? resolve() : reject(error))));
}

test("importAccounts() - a session file is a leased client, and the peers in it are found without a request", async () => {
  const { server, file, open } = await stage({ accounts: 2 });
  const [account] = server.accounts;
  if (account === undefined) throw new Error("The test server has no account.");
  const path = join(dirname(file), "mine.session");
  await writeTelethonFile(path, account.session, [[1_001, 77, "known_friend", "Friend"]]);
  writeFileSync(join(dirname(file), "notes.txt"), "words\nand more");
  const pool = await open({ add: [] });
  const report = await importAccounts(pool, dirname(file));
  expect(report.added.map(({ id, format }) => ({ id, format }))).toEqual([{ id: "mine", format: "telethon" }]);
  expect(report.refused.some(({ path: refused }) => refused.endsWith("notes.txt"))).toBe(true);
  const peer = await pool.use((client) => client.getInputEntity("known_friend"), { id: "mine" });
  expect(peer.className).toBe("InputPeerUser");
  expect(callsOf(server, "contacts.ResolveUsername")).toEqual([]);
  expect((await pool.use((client) => client.getMe())).className).toBe("User");
});
