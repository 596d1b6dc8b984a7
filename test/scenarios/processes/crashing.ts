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
pool.on("died", (event) => tell("died", event));
pool.on("storageFailed", ({ error }) => tell("storageFailed", { error: String(error) }));
/** No limit is on this one: it can be used as soon as nobody else has it. */
await pool.use((client) => client.getMe(), { id: "steady" });
tell("used");

// What is foreign does not show how it stands otherwise.
while (pool.status().foreign > 0) await new Promise((resolve) => setTimeout(resolve, 5));
tell("found", { sessions: pool.sessions(), now: Date.now(), rejected: pool.rejected() });

/** Messages so far: each has its own text, in every process of a run. */
let sent = 0;
const startedAt = Date.now();

async function send(): Promise<void> {
  const work = orders.accounts.map(({ name }) => name).filter((name) => name !== "steady");
  for (let i = 0; ; i++) {
    const id = work[i % work.length] ?? "";
    const text = `${process.pid}-${startedAt}-${sent++}`;
    await pool
      .use((client) => client.sendMessage("user1", { message: text }), { id, wait: 20, retry: "none" })
      .catch(() => new Promise((resolve) => setTimeout(resolve, 5)));
  }
}

async function look(): Promise<void> {
  for (;;) await pool.use((client) => client.getMe(), { id: "steady" });
}

/** How a session is to stand after a change; `state: null`: it is to be gone. */
interface Standing {
  readonly state: string | null;
  readonly reason: string | null;
  readonly tags: readonly string[];
}

async function change(id: string, standing: Standing, work: () => Promise<unknown>): Promise<void> {
  tell("changing", { id, ...standing });
  await work();
  tell("changed", { id, ...standing });
}

async function changes(): Promise<void> {
  const extras = pool.sessions().filter(({ id }) => id.startsWith("extra-"));
  const ids = extras.map(({ id }) => id);
  for (let i = 0; ; i++) {
    const id = `extra-${process.pid}-${i}`;
    const [session, reason, tags] = [sessionString(id), `disabled ${i}`, [`tag ${i}`]];
    await change(id, { state: "free", reason: null, tags: [] }, () => pool.add(id, session));
    await change(id, { state: "free", reason: null, tags }, () => pool.update(id, { tags }));
    await change(id, { state: "disabled", reason, tags }, () => pool.disable(id, reason));
    if (i % 3 === 0) await change(id, { state: "free", reason: null, tags }, () => pool.enable(id));
    ids.push(id);
    const [oldest = ""] = ids;
    if (ids.length <= EXTRAS) continue;
    await change(oldest, { state: null, reason: null, tags: [] }, () => pool.remove(oldest));
    ids.shift();
  }
}

await Promise.all([send(), send(), send(), look(), changes()]);
