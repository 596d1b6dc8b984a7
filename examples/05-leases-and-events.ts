/** Leases by hand, cooldowns by method, events, waiting and not waiting. Runs on its own: npx tsx examples/05-… */
import { Api } from "telegram";
import { classifyTelegramError, NoSessionAvailableError, SessionPool } from "telegram-session-pool";
import { gramjs } from "telegram-session-pool/gramjs";
import { startTestServer } from "telegram-session-pool/testing";

await using server = await startTestServer({ accounts: [{ name: "alice" }, { name: "bob" }] });
await using pool = await SessionPool.open({
  client: gramjs({ apiId: 1, apiHash: "example", clientOptions: server.clientOptions }),
  cooldownScope: "method", // a FLOOD_WAIT cools the session down for that method alone
  trustServers: true, // these sessions name 127.0.0.1
});
for (const { name, session } of server.accounts) await pool.add(name, session, { tags: ["readers"] });

pool.on("leased", ({ id }) => console.log(`  leased    ${id}`));
pool.on("released", ({ id }) => console.log(`  released  ${id}`));
pool.on("cooled", ({ id, seconds, method }) => console.log(`  cooled    ${id} for ${seconds} s, ${method ?? "all"}`));

console.log("A lease lasts as long as its block:");
{
  using lease = await pool.acquire({ id: "alice", tags: ["readers"] });
  console.log(`  ${lease.id} is user ${(await lease.client.getMe()).id}`);
}

console.log("Alice is flooded for one method; bob does it:");
server.fail({ account: "alice", method: "contacts.ResolveUsername", message: "FLOOD_WAIT_2", times: 1 });
const resolve = (): Api.contacts.ResolveUsername => new Api.contacts.ResolveUsername({ username: "durov" });
await pool.invoke(resolve, { key: "durov" }); // the same key gets the same session while it can
await pool.invoke(resolve, { method: "contacts.resolveUsername" }); // not a session that is known to refuse it

console.log("A free session that only this method has to leave alone:");
using held = await pool.acquire({ id: "bob" });
const refused = await pool.invoke(resolve, { wait: false, tags: ["readers"] }).catch((error: unknown) => error);
if (refused instanceof NoSessionAvailableError) {
  console.log(`  ${refused.message}`);
  console.log(`  waitingCount ${refused.waitingCount}, nextReleaseIn ${refused.nextReleaseIn} s`);
}

console.log("The same without the pool's rotation: Telegram's own error, refused before it is sent:");
held.coolDown(60, { method: "messages.GetDialogs" });
const flood = await held.client.getDialogs({}).catch((error: unknown) => error);
console.log(`  ${flood instanceof Error ? flood.message : flood}`);
console.log(`  ${JSON.stringify(classifyTelegramError(flood))}`);
