import { TelegramClient } from "telegram";
import type { TelegramClientParams } from "telegram/client/telegramBaseClient.js";
import { Logger, type LogLevel } from "telegram/extensions/Logger.js";
import { StringSession } from "telegram/sessions/index.js";
import type { TestServerAccount, TestServerClientOptions } from "../../../src/testing/index.js";

interface Reachable {
  readonly clientOptions: TestServerClientOptions;
}

const clients: TelegramClient[] = [];

/** A GramJS client that says nothing and starts no loops. */
export function clientOf(
  server: Reachable,
  account: TestServerAccount | undefined,
  options: Partial<TelegramClientParams> = {},
): TelegramClient {
  if (account === undefined) throw new Error("There is no such account");
  const client = new TelegramClient(new StringSession(account.session), 1, "x", {
    ...server.clientOptions,
    baseLogger: new Logger("none" as LogLevel),
    connectionRetries: 1,
    floodSleepThreshold: 0,
    ...options,
  });
  Object.assign(client, { _loopStarted: true });
  clients.push(client);
  return client;
}

/** The same, connected. */
export async function connectedClient(
  server: Reachable,
  account: TestServerAccount | undefined,
  options: Partial<TelegramClientParams> = {},
): Promise<TelegramClient> {
  const client = clientOf(server, account, options);
  await client.connect();
  return client;
}

/** Destroys the clients that were made. */
export async function destroyClients(): Promise<void> {
  await Promise.all(clients.splice(0).map((client) => client.destroy()));
}

/** The error of a promise that has to reject. */
export async function rejection(promise: Promise<unknown>): Promise<Error> {
  const settled = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (settled instanceof Error) return settled;
  throw new Error(`Expected a rejection, got ${String(settled)}`);
}
