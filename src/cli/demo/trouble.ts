import type { ForkedTestServer } from "../../testing/test-server/fork.js";
import { ACCOUNTS } from "./data.js";

/** Gives every account limits of its own, which the pool is not told, as on Telegram. */
export async function setLimits(server: ForkedTestServer): Promise<void> {
  for (const [at, account] of ACCOUNTS.entries()) {
    const waitSeconds = 2 + (at % 3);
    await server.limit("messages.SendMessage", { account, calls: 12 + 2 * at, perMs: 4_000, waitSeconds });
    await server.limit("contacts.ResolveUsername", { account, calls: 12, perMs: 5_000, waitSeconds: 2 });
  }
}

/** What happens on the way, by how many jobs are done: two floods out of the blue, and an account that is killed. */
export async function makeTrouble(server: ForkedTestServer, done: number): Promise<void> {
  if (done === 60) await server.fail({ account: "bob", message: "FLOOD_WAIT_6", times: 1 });
  if (done === 120) await server.revoke("heidi");
  if (done === 200) await server.fail({ account: "carol", message: "FLOOD_WAIT_5", times: 1 });
}
