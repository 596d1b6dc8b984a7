import { findClientLibrary } from "../client-library.js";
import { CLIENT_OPTIONS, type Command, UsageError } from "../command.js";

/** `demo`: the pool at work, without an account. */
export const demoCommand: Command = {
  usage: "[--keep]",
  description:
    "Shows the pool at work, without an account and without the network: 8 accounts send 400 messages and resolve 100 usernames against a Telegram server on this machine, which floods them and revokes one. It takes about 15 seconds.",
  options: {
    keep: { type: "boolean", description: "continue afterwards, and show the accounts in the browser until Ctrl-C" },
    ...CLIENT_OPTIONS,
  },
  positionals: { min: 0, max: 0 },
  example: "telegram-session-pool demo",
  async run({ arguments: given, settings, terminal, signal }) {
    if (given.flag("json")) throw new UsageError("The demo is for people: it has no JSON.");
    const client = await findClientLibrary(settings);
    const { runDemo } = await import("../demo/demo.js");
    const isAllKept = await runDemo(client, given.flag("keep"), terminal, signal);
    return { exitCode: isAllKept ? 0 : 1, text: "", json: undefined };
  },
};
