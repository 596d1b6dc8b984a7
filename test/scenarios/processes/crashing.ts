import { createInterface } from "node:readline";
import { sessionString } from "../../fakes/sessions.js";
import { openPool, orders, tell } from "./child.js";

/**
 * Waits to be told to go, and then works until it is killed: calls on all accounts, and changes of sessions that are never
 * leased. What it is about to change and what was acknowledged it tells, in this order; a pipe is written synchronously.
 */
const EXTRAS = 12;

const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
tell("loaded");
await input.next();

const pool = await openPool({ storageTimeoutMs: 20_000 });
pool.on("cooled", (event) => tell("cooled", event));
pool.on("storageFailed", ({ error }) => tell("storageFailed", { error: String(error) }));
/** No limit is on this one: it can be used as soon as nobody else has it. */
await pool.use((client) => client.getMe(), { id: "steady" });
tell("used");

// What is foreign does not show how it stands otherwise.
while (pool.status().foreign > 0) await new Promise((resolve) => setTimeout(resolve, 5));
const sessions = pool.sessions().map(({ id, state, reason, availableAt }) => ({ id, state, reason, availableAt }));
tell("found", { sessions, now: Date.now(), rejected: pool.rejected() });

async function send(): Promise<void> {
  const work = orders.accounts.map(({ name }) => name).filter((name) => name !== "steady");
  for (let i = 0; ; i++) {
    const id = work[i % work.length] ?? "";
    const text = `${process.pid}-${i}-${Math.random()}`;
    await pool
      .use((client) => client.sendMessage("user1", { message: text }), { id, wait: 20, retry: "none" })
      .catch(() => new Promise((resolve) => setTimeout(resolve, 5)));
  }
}

async function look(): Promise<void> {
  for (;;) await pool.use((client) => client.getMe(), { id: "steady" });
}

async function change(id: string, state: string | null, reason: string | null, work: () => Promise<unknown>) {
  tell("changing", { id, state, reason });
  await work();
  tell("changed", { id, state, reason });
}

async function changes(): Promise<void> {
  const extras = pool.sessions().filter(({ id }) => id.startsWith("extra-"));
  const ids = extras.map(({ id }) => id);
  for (let i = 0; ; i++) {
    const id = `extra-${process.pid}-${i}`;
    const session = sessionString(id);
    await change(id, "free", null, () => pool.add(id, session));
    ids.push(id);
    const reason = `disabled ${i}`;
    await change(id, "disabled", reason, () => pool.disable(id, reason));
    if (i % 3 === 0) await change(id, "free", null, () => pool.enable(id));
    const [oldest = ""] = ids;
    if (ids.length > EXTRAS) await change(oldest, null, null, () => pool.remove(oldest));
    if (ids.length > EXTRAS) ids.shift();
  }
}

await Promise.all([send(), send(), send(), look(), changes()]);
