import { changeSessions } from "../change-sessions.js";
import { type Command, STORAGE_OPTIONS } from "../command.js";

/** `disable`: keeps accounts back. */
export const disableCommand: Command = {
  usage: "ID… [--reason TEXT]",
  description:
    "Keeps accounts back until they are enabled, in every process that shares the storage. A process that is using one finishes first.",
  options: {
    ...STORAGE_OPTIONS,
    reason: { type: "string", value: "TEXT", description: 'what "status" shows as the reason' },
  },
  positionals: { min: 1, max: Number.POSITIVE_INFINITY },
  example: 'telegram-session-pool disable alice bob --reason "on holiday"',
  run(context) {
    const reason = context.arguments.text("reason");
    return changeSessions(context, {
      async change(pool, id) {
        await pool.disable(id, reason);
        return "disabled";
      },
    });
  },
};
