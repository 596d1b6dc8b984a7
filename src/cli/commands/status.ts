import { type Command, type CommandContext, STORAGE_OPTIONS, UsageError } from "../command.js";
import { statusSummary, statusTable } from "../session-table.js";
import { watchStatus } from "../status-watch.js";
import { withStorage } from "../storage-url.js";
import { SessionReader, type StoredSessions } from "../stored-sessions.js";
import { printable, wrap } from "../table.js";

/** `status`: who can work now. */
export const statusCommand: Command = {
  usage: "[--watch]",
  description:
    "Shows how each account stands: its state, until when, why, and the process that has it connected. Reads the storage only: it connects nothing, and works beside running processes.",
  options: {
    ...STORAGE_OPTIONS,
    watch: { type: "boolean", description: "keep showing it until Ctrl-C; without a terminal, print what changes" },
  },
  positionals: { min: 0, max: 0 },
  example: "telegram-session-pool status --watch",
  async run(context) {
    const isWatched = context.arguments.flag("watch");
    if (isWatched && context.arguments.flag("json")) {
      throw new UsageError("--watch shows a table that changes, and --json prints one document: choose one of them.");
    }
    return withStorage(context, async ({ storage }) => {
      const reader = new SessionReader(storage);
      if (isWatched) {
        await watchStatus(storage, reader, context);
        return { text: "", json: undefined };
      }
      const now = Date.now();
      const found = await reader.read(now);
      const { status, sessions, rejected } = found;
      return { text: statusText(found, context, now), json: { status, sessions, rejected } };
    });
  },
};

function statusText(found: StoredSessions, { terminal }: CommandContext, now: number): string {
  const { sessions, rejected } = found;
  const table = sessions.length === 0 ? [] : [...statusTable(sessions, terminal, now), ""];
  const unreadable = rejected.map(({ id, reason }) => printable(`${id}: its record cannot be read (${reason}).`));
  const summary = statusSummary(found, now).flatMap((line) => (terminal.isLive ? wrap(line, terminal.columns) : line));
  return [...table, ...unreadable, ...summary]
    .filter((line, index, all) => line !== "" || index < all.length - 1)
    .join("\n");
}
