/** Your own accounts: API_ID=… API_HASH=… SESSIONS=…,… npx tsx examples/01-quickstart.ts */
import { SessionPool } from "telegram-session-pool";
import { gramjs } from "telegram-session-pool/gramjs";
import { sqlite } from "telegram-session-pool/sqlite";

const { API_ID = "", API_HASH = "", SESSIONS = "" } = process.env;
const sessions = SESSIONS.split(/[\s,]+/).filter((session) => session !== "");
if (API_ID === "" || API_HASH === "" || sessions.length === 0) {
  console.error(
    "Set API_ID and API_HASH (from https://my.telegram.org) and SESSIONS (StringSessions, separated by commas or newlines).",
  );
  process.exit(1);
}

await using pool = await SessionPool.open({
  client: gramjs({ apiId: Number(API_ID), apiHash: API_HASH }),
  storage: sqlite("sessions.db"),
});
pool.on("cooled", ({ id, seconds }) => console.log(`${id} cools down for ${seconds} s`));
pool.on("died", ({ id, reason }) => console.log(`${id} is dead: ${reason}`));
for (const [at, session] of sessions.entries()) await pool.add(`account${at + 1}`, session);

const usernames = ["telegram", "durov", "botfather"];
const resolve = (username: string): Promise<string> =>
  pool.use(async (client, lease) => `${username} is ${(await client.getEntity(username)).id} (asked by ${lease.id})`);
for (const line of await Promise.all(usernames.map(resolve))) console.log(line);
console.log(pool.status());
