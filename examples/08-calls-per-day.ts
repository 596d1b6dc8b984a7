/** A limit per day that outlives the process: two programs, one after the other. Runs on its own: npx tsx examples/08-… */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NoSessionAvailableError, SessionPool } from "telegram-session-pool";
import { gramjs } from "telegram-session-pool/gramjs";
import { sqlite } from "telegram-session-pool/sqlite";
import { startTestServer } from "telegram-session-pool/testing";

const folder = await mkdtemp(join(tmpdir(), "calls-per-day-"));
await using server = await startTestServer({ accounts: 2 });

/** Sends until every account has sent five messages today, or `most` are sent. */
async function program(name: string, most: number): Promise<void> {
  await using pool = await SessionPool.open({
    client: gramjs({ apiId: 1, apiHash: "example", clientOptions: server.clientOptions }),
    storage: sqlite(join(folder, "sessions.db")),
    budgets: { "messages.SendMessage": { calls: 5, perMs: 86_400_000, durable: true } },
    trustServers: true, // these sessions name 127.0.0.1
  });
  for (const { name: id, session } of server.accounts) await pool.add(id, session);
  let sent = 0;
  try {
    for (; sent < most; sent++) {
      await pool.use((client) => client.sendMessage("user1", { message: `${name} ${sent}` }), { wait: 1_000 });
    }
    console.log(`${name}: ${sent} sent`);
  } catch (error) {
    if (!(error instanceof NoSessionAvailableError) || error.retryAt === null) throw error;
    const hours = Math.round((error.retryAt - Date.now()) / 3_600_000);
    console.log(`${name}: ${sent} sent, the next in ${hours} hours`);
  }
}

await program("first", 4);
await program("second", 100);
await program("third", 100);
await rm(folder, { recursive: true });
