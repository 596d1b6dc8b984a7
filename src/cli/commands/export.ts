import { formatSession, parseSession, type SessionFormat } from "../../telegram/session-string.js";
import { CONFIRM_OPTIONS, type Command, CommandError, STORAGE_OPTIONS, UsageError } from "../command.js";
import { assertKnown, withOfflinePool } from "../pools.js";
import { Prompt } from "../prompt.js";

/** What `--format` takes; teleproto writes GramJS's strings. */
const FORMATS: Readonly<Record<string, SessionFormat>> = {
  gramjs: "gramjs",
  teleproto: "gramjs",
  telethon: "telethon",
  pyrogram: "pyrogram",
  mtcute: "mtcute",
};

/** `export`: the one command that prints a session string. */
export const exportCommand: Command = {
  usage: "ID [--format NAME] [--yes]",
  description:
    "Prints the session string of an account on stdout. It gives full access to the account, so the command asks first. Never use one string in two programs at the same time: Telegram ends such a login for good.",
  options: {
    ...STORAGE_OPTIONS,
    format: { type: "string", value: "NAME", description: `${Object.keys(FORMATS).join(", ")} (default gramjs)` },
    ...CONFIRM_OPTIONS,
  },
  positionals: { min: 1, max: 1 },
  example: "telegram-session-pool export alice --format telethon --yes > alice.txt",
  run(context) {
    const [id = ""] = context.arguments.positionals;
    const name = context.arguments.text("format") ?? "gramjs";
    const format = Object.hasOwn(FORMATS, name) ? FORMATS[name] : undefined;
    if (format === undefined) {
      throw new UsageError(`There is no format "${name}": choose ${Object.keys(FORMATS).join(", ")}.`);
    }
    return withOfflinePool(context, async (pool) => {
      assertKnown(pool, [id]);
      const { terminal, signal } = context;
      const isAgreed =
        context.arguments.flag("yes") ||
        (await new Prompt(terminal, signal).confirm(
          `Print the session string of ${id}? It gives full access to the account.`,
        ));
      if (!isAgreed) throw new CommandError("Nothing was exported.");
      const session = formatSession(parseSession(await pool.exportSession(id)), format);
      return { text: session, json: { id, format: name, session } };
    });
  },
};
