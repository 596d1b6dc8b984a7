import type { SessionPool } from "../session-pool.js";
import type { CommandContext, CommandResult } from "./command.js";
import { assertKnown, withOfflinePool } from "./pools.js";

/** One change of one session, in the words of a terminal. */
export interface SessionChangeCommand {
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
export function changeSessions(context: CommandContext, command: SessionChangeCommand): Promise<CommandResult> {
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
