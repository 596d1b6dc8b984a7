/**
 * A test server in a process of its own.
 *
 *     node main.js '{"accounts":3,"port":9000}'
 *
 * Its one argument is {@link TestServerOptions} as JSON. Once it can be reached it prints one line of JSON with
 * `host`, `port` and `sessions`. It ends on SIGTERM, SIGINT, or when its parent is gone. Forked, it also answers
 * commands.
 */

import type { FailedMessage, ReadyMessage, RequestMessage, ResponseMessage } from "./fork-messages.js";
import type { TestServerOptions } from "./options.js";
import { commandsOf, type RemoteCommands } from "./remote-commands.js";
import { startTestServer, type TelegramTestServer } from "./test-server.js";

const PARENT_LOOKUP_MS = 500;

function tell(message: ReadyMessage | FailedMessage | ResponseMessage): void {
  // Without a callback a parent that is gone would be an unhandled error.
  process.send?.(message, () => undefined);
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function answer(commands: RemoteCommands, { id, command, values }: RequestMessage): Promise<void> {
  try {
    const run = commands[command as keyof RemoteCommands] as (...values: readonly unknown[]) => unknown;
    tell({ kind: "response", id, value: await run(...values) });
  } catch (error) {
    tell({ kind: "response", id, reason: reasonOf(error) });
  }
}

function endWithParent(server: TelegramTestServer): void {
  const end = (): void => {
    void server.close().finally(() => process.exit(0));
  };
  const parent = process.ppid;
  process.once("SIGTERM", end);
  process.once("SIGINT", end);
  process.once("disconnect", end);
  setInterval(() => process.ppid !== parent && end(), PARENT_LOOKUP_MS).unref();
}

async function main(): Promise<void> {
  const options = JSON.parse(process.argv[2] ?? "{}") as TestServerOptions;
  const server = await startTestServer(options);
  const { host, port, sessions } = server;
  const accounts = server.accounts.map(({ name, userId, session, phone }) => ({ name, userId, session, phone }));
  const commands = commandsOf(server);
  endWithParent(server);
  process.on("message", (message) => void answer(commands, message as RequestMessage));
  process.stdout.write(`${JSON.stringify({ host, port, sessions })}\n`);
  tell({ kind: "ready", host, port, accounts });
}

main().catch((error: unknown) => {
  process.stderr.write(`${reasonOf(error)}\n`);
  tell({ kind: "failed", reason: reasonOf(error) });
  process.exitCode = 1;
});
