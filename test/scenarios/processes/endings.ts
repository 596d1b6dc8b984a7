import type { TelegramClient } from "telegram";
import { telegramAdapter } from "../../fakes/client-library.js";
import { clientOptions, openPool, orders, tell } from "./child.js";

const resources = (): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const name of process.getActiveResourcesInfo()) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
};

const modes: Readonly<Record<string, () => Promise<void>>> = {
  /** Is done and forgets to close. */
  async idle() {
    const pool = await openPool();
    await pool.use((client) => client.getMe());
    tell("done");
  },
  /** Has opened a pool and never used it. */
  async unused() {
    await openPool();
    tell("done");
  },
  /** Waits for nothing while a call is under way. */
  async "in flight"() {
    const pool = await openPool();
    void pool.use((client) => client.getMe()).then(() => tell("answered"));
    tell("done");
  },
  /** Waits for nothing while a caller waits for a session that cools. */
  async waiting() {
    const pool = await openPool();
    await pool.use((_, lease) => lease.coolDown(1));
    void pool.use((client) => client.getMe()).then(() => tell("answered"));
    tell("done");
  },
  /** Holds a lease that nobody will ever give back. */
  async holding() {
    const pool = await openPool();
    await pool.acquire();
    tell("done");
  },
  /** Only listens, and ends when it has heard something. */
  async listening() {
    const onConnect = (client: TelegramClient): void => {
      client.addEventHandler(() => void pool.close().then(() => tell("closed")));
    };
    const pool = await openPool({ client: telegramAdapter({ apiId: 1, apiHash: "x", clientOptions, onConnect }) });
    pool.once("connected", () => tell("done"));
    for (const { id } of pool.sessions()) await pool.update(id, { profile: { keepConnected: true } });
  },
  async closed() {
    const before = resources();
    const pool = await openPool();
    await pool.use((client) => client.sendMessage("user1", { message: "x" }));
    await pool.close();
    await new Promise((resolve) => setImmediate(resolve));
    tell("done", { before, after: resources() });
  },
  async destroyed() {
    const before = resources();
    const pool = await openPool();
    const lease = await pool.acquire();
    lease.client.getMe().catch(() => {});
    await pool.destroy();
    await new Promise((resolve) => setImmediate(resolve));
    tell("done", { before, after: resources() });
  },
  async cycles() {
    const cycle = async (): Promise<void> => {
      const pool = await openPool();
      await pool.use((client) => client.getMe());
      await pool.close();
    };
    for (let i = 0; i < 10; i++) await cycle();
    const before = { ...resources(), ...listeners() };
    for (let i = 0; i < 90; i++) await cycle();
    await new Promise((resolve) => setImmediate(resolve));
    tell("done", { before, after: { ...resources(), ...listeners() } });
  },
};

function listeners(): Record<string, number> {
  return Object.fromEntries(process.eventNames().map((name) => [`on ${String(name)}`, process.listenerCount(name)]));
}

await modes[orders.mode]?.();
