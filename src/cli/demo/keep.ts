import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { TelegramClient } from "telegram";
import { dashboard } from "../../dashboard/index.js";
import type { SessionPool } from "../../session-pool.js";
import { whileServed } from "../page-server.js";
import type { Terminal } from "../terminal.js";
import { RECIPIENT } from "./data.js";

const CONCURRENCY = 6;
/** Time between two messages: the accounts are flooded now and then, and recover. */
const PAUSE_MS = 120;

/** Goes on to send messages and shows the pool in the browser, until the signal aborts. */
export async function keepShowing(
  pool: SessionPool<TelegramClient>,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<void> {
  await whileServed(dashboard(pool), 0, async (url) => {
    terminal.print(`\nThe accounts go on. Their dashboard: ${url} (Ctrl-C ends it)`);
    const send = (client: TelegramClient, message: string): Promise<unknown> =>
      client.sendMessage(RECIPIENT, { message });
    try {
      for await (const _ of pool.map(messages(signal), send, { concurrency: CONCURRENCY, signal }));
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    if (!signal.aborted) await once(signal, "abort");
  });
}

async function* messages(signal: AbortSignal): AsyncGenerator<string> {
  for (let number = 1; !signal.aborted; number++) {
    await sleep(PAUSE_MS, undefined, { signal });
    yield `One more message, number ${number}`;
  }
}
