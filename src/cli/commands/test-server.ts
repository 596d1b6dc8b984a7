import { once } from "node:events";
import { chmodSync, writeFileSync } from "node:fs";
import { startTestServer } from "../../testing/test-server/test-server.js";
import { findClientLibrary } from "../client-library.js";
import { CLIENT_OPTIONS, type Command, type CommandContext, CommandError, UsageError } from "../command.js";

const LARGEST_PORT = 65_535;
const LARGEST_COUNT = 100_000;
/** The login code of every account. */
const LOGIN_CODE = "12345";

/** `test-server`: a Telegram server of one's own. */
export const testServerCommand: Command = {
  usage: "[--accounts N] [--port N] [--file FILE] [--sessions FILE]",
  description:
    "Runs a Telegram server on 127.0.0.1 until Ctrl-C, with made-up accounts that exist until it ends. With SESSION_POOL_TEST_SERVER=FILE the other commands use it.",
  options: {
    accounts: { type: "string", value: "N", description: "how many accounts it has (default 1)" },
    port: { type: "string", value: "N", description: "port to listen on (default: any free one)" },
    file: { type: "string", value: "FILE", description: "where to write how it is reached, as JSON" },
    sessions: { type: "string", value: "FILE", description: "where to write its session strings, one per line" },
    ...CLIENT_OPTIONS,
  },
  positionals: { min: 0, max: 0 },
  example: "telegram-session-pool test-server --accounts 3 --file server.json",
  async run(context) {
    const { terminal, signal, arguments: given } = context;
    const count = countOf(context, "accounts", 1, LARGEST_COUNT) ?? 1;
    const accounts = Array.from({ length: count }, () => ({ code: LOGIN_CODE }));
    const port = countOf(context, "port", 1, LARGEST_PORT) ?? 0;
    await findClientLibrary(context.settings);
    const server = await startTestServer({ accounts, port }).catch((error: unknown) => {
      throw new CommandError(`The server cannot start: ${error instanceof Error ? error.message : String(error)}.`);
    });
    try {
      const address = server.server;
      const [file, sessions] = [given.text("file"), given.text("sessions")];
      if (file !== undefined) write(file, `${JSON.stringify(address, undefined, 2)}\n`);
      if (sessions !== undefined) write(sessions, `${server.sessions.join("\n")}\n`);
      const named = server.accounts.map(({ name, userId, phone }) => ({ name, userId, phone: `+${phone}` }));
      if (given.flag("json")) terminal.print(JSON.stringify({ ...address, accounts: named }, undefined, 2));
      else {
        terminal.print(`A Telegram server listens on ${server.host}:${server.port}. Accounts: ${named.length}.`);
        terminal.print(`Phone number of the first one: ${named[0]?.phone}. Login code of all: ${LOGIN_CODE}.`);
        if (file !== undefined) terminal.print(`Other commands use it with SESSION_POOL_TEST_SERVER=${file}.`);
      }
      if (!signal.aborted) await once(signal, "abort");
    } finally {
      await server.close();
    }
    return { text: "", json: undefined };
  },
};

function countOf({ arguments: given }: CommandContext, name: string, min: number, max: number): number | undefined {
  const text = given.text(name);
  if (text === undefined) return undefined;
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= min && count <= max) return count;
  throw new UsageError(`--${name} must be a whole number from ${min} to ${max}; got "${text}".`);
}

/** Readable by its owner only, as everything that may hold a session string. */
function write(path: string, text: string): void {
  try {
    writeFileSync(path, text, { mode: 0o600 });
    chmodSync(path, 0o600); // of a file that was there before
  } catch (error) {
    throw new CommandError(`${path} cannot be written: ${(error as NodeJS.ErrnoException).code}.`);
  }
}
