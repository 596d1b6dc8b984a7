import { sqlite } from "../../../adapters/storage/sqlite.js";
import { AcquireTimeoutError, NoSessionAvailableError } from "../../../src/index.js";
import { openPool, orders, tell } from "./child.js";

const modes: Readonly<Record<string, () => Promise<void>>> = {
  /** Tells of the first cooldown, and would go on for ever. */
  async cooling() {
    const pool = await openPool();
    pool.on("cooled", (event) => tell("cooled", event));
    setInterval(() => {}, 1_000);
    await pool.use((client) => client.sendMessage("user1", { message: "never" }));
  },
  /** Uses every account once, and tells when that has settled. */
  async settling() {
    const pool = await openPool();
    setInterval(() => {}, 1_000);
    const job = (id: string) => pool.use((client) => client.getMe(), { id, wait: false });
    await Promise.allSettled(orders.accounts.map(({ name }) => job(name)));
    tell("settled");
  },
  /** Sends within a limit per day, as fast as it can, until the limit is spent. */
  async spending() {
    const pool = await openPool({
      budgets: { "messages.SendMessage": { calls: 100, perMs: 86_400_000, durable: true } },
      idleTimeoutMs: 50,
    });
    for (let sent = 0; ; sent++) {
      try {
        await pool.use((client) => client.sendMessage("user1", { message: `${process.pid} ${sent}` }), { wait: 2_000 });
        tell("sent");
      } catch (error) {
        if (!(error instanceof NoSessionAvailableError || error instanceof AcquireTimeoutError)) {
          tell("failed", { message: String(error) });
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  },
  /** Sends 200 messages by `map`, as far as they are not sent already, and tells each that is acknowledged. */
  async mapping() {
    const storage = sqlite(orders.file);
    const pool = await openPool({ storage });
    const texts = Array.from({ length: 200 }, (_, at) => `message ${at}`);
    const run = pool.map(texts, (client, text) => client.sendMessage("user1", { message: text }), {
      checkpoint: { storage, name: "newsletter", key: (text) => text },
    });
    try {
      for await (const { item, ok } of run) tell("acknowledged", { item, ok });
      tell("over", { unknown: run.uncertainKeys });
    } catch (error) {
      tell("refused", { message: String(error) });
    }
    await pool.close();
  },
};

await modes[orders.mode]?.();
