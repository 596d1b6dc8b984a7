import { changeSessions } from "../change-sessions.js";
import { CONFIRM_OPTIONS, type Command, STORAGE_OPTIONS } from "../command.js";
import { Prompt } from "../prompt.js";
import { printable } from "../table.js";

const MOST_NAMED = 5;

/** `remove`: forgets accounts. */
export const removeCommand: Command = {
  usage: "ID… [--yes]",
  description:
    "Forgets accounts: their session strings are deleted from the storage. It asks first. The login itself stays valid at Telegram until it is ended there. A process that is using one finishes first.",
  options: { ...STORAGE_OPTIONS, ...CONFIRM_OPTIONS },
  positionals: { min: 1, max: Number.POSITIVE_INFINITY },
  example: "telegram-session-pool remove alice --yes",
  run(context) {
    const { terminal, signal } = context;
    return changeSessions(context, {
      takesRejected: true,
      async confirm(_pool, ids) {
        if (context.arguments.flag("yes")) return true;
        const named = ids.slice(0, MOST_NAMED).map(printable).join(", ");
        const more = ids.length > MOST_NAMED ? ` and ${ids.length - MOST_NAMED} more` : "";
        return new Prompt(terminal, signal).confirm(`Remove ${named}${more} for good?`);
      },
      async change(pool, id) {
        const isHeld = pool.get(id)?.state === "foreign";
        if (!(await pool.remove(id))) return "was removed already";
        return isHeld ? "is removed as soon as the process that has it connected has finished" : "removed";
      },
    });
  },
};
