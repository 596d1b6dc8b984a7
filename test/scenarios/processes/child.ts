import type { TelegramClient } from "telegram";
import { sqlite } from "../../../adapters/storage/sqlite.js";
import { SessionPool, type SessionPoolOptions, type SessionStorage } from "../../../src/index.js";
import { testServerClientOptions } from "../../../src/testing/index.js";
import { libraryName, telegramAdapter } from "../../fakes/client-library.js";

/** What a scenario's process is told on its command line. */
export interface Orders {
  readonly host: string;
  readonly port: number;
  readonly file: string;
  readonly accounts: readonly { readonly name: string; readonly session: string }[];
  readonly mode: string;
}

/** Tells the parent something: one line of JSON. */
export function tell(word: string, details: object = {}): void {
  process.stdout.write(`${JSON.stringify({ word, ...details })}\n`);
}

export const orders: Orders = JSON.parse(process.argv[2] ?? "{}");

export const clientOptions: object = await testServerClientOptions({ ...orders, library: libraryName });

process.on("unhandledRejection", (reason) => {
  tell("unhandledRejection", { reason: String(reason) });
  process.exit(70);
});

export const storage: SessionStorage = sqlite(orders.file);

/** A pool on the orders' file with the orders' accounts. */
export async function openPool(
  options: Partial<SessionPoolOptions<TelegramClient>> = {},
): Promise<SessionPool<TelegramClient>> {
  const pool = await SessionPool.open({
    client: telegramAdapter({ apiId: 1, apiHash: "x", clientOptions }),
    storage,
    trustServers: true,
    callTimeoutMs: 5_000,
    ...options,
  });
  for (const { name, session } of orders.accounts) await pool.add(name, session);
  return pool;
}
