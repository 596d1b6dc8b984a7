import type { SessionPool } from "../../session-pool.js";
import { CONFIRM_OPTIONS, type Command, type CommandContext, type CommandResult, STORAGE_OPTIONS } from "../command.js";
import { assertKnown, withOfflinePool } from "../pools.js";
import { Prompt } from "../prompt.js";
import { printable } from "../table.js";
import { instantText } from "../time-text.js";

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

/** One change of one session, in the words of a terminal. */
interface SessionChangeCommand {
  /** Asked once before anything changes. Resolves `false` to leave it. */
  confirm?(pool: SessionPool<unknown>, ids: readonly string[]): Promise<boolean>;
  /** Whether records that cannot be read may be named, too. */
  readonly takesRejected?: boolean;
  /** Does it, and resolves what to say of it: `"disabled"`. */
  change(pool: SessionPool<unknown>, id: string): Promise<string>;
}

/**
 * Changes the sessions that the command line names, one after the other, each by one write of its record. Nothing is
 * changed when one of them is unknown; Ctrl-C ends it between two of them, and what was done is said.
 */
function changeSessions(context: CommandContext, command: SessionChangeCommand): Promise<CommandResult> {
  const { terminal, signal } = context;
  const ids = [...new Set(context.arguments.positionals)];
  return withOfflinePool(context, async (pool) => {
    assertKnown(pool, ids, command.takesRejected === true ? pool.rejected().map(({ id }) => id) : []);
    if (command.confirm !== undefined && !(await command.confirm(pool, ids))) {
      return { exitCode: 1, text: "Nothing was changed.", json: { changed: [] } };
    }
    const changed: string[] = [];
    const lines: string[] = [];
    try {
      for (const id of ids) {
        signal.throwIfAborted();
        lines.push(`${id}: ${await command.change(pool, id)}`);
        changed.push(id);
      }
    } catch (error) {
      for (const line of lines) terminal.note(line);
      throw error;
    }
    return { text: lines.join("\n"), json: { changed } };
  });
}
