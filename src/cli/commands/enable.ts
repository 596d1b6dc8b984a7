import { changeSessions } from "../change-sessions.js";
import { type Command, STORAGE_OPTIONS } from "../command.js";
import { instantText } from "../time-text.js";

/** `enable`: lets accounts work again. */
export const enableCommand: Command = {
  usage: "ID…",
  description:
    "Lets accounts work again that are disabled, restricted or dead. A cooldown stays: Telegram counts it, too. A dead account whose session Telegram has ended dies again at its next use.",
  options: STORAGE_OPTIONS,
  positionals: { min: 1, max: Number.POSITIVE_INFINITY },
  example: "telegram-session-pool enable alice",
  run: (context) =>
    changeSessions(context, {
      async change(pool, id) {
        await pool.enable(id);
        const session = pool.get(id);
        if (session?.state !== "cooling" || session.availableAt === null) return "enabled";
        return `enabled; its cooldown runs until ${instantText(session.availableAt)}`;
      },
    }),
};
