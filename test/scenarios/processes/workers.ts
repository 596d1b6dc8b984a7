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
};

await modes[orders.mode]?.();
