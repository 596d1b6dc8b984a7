import { type Command, STORAGE_OPTIONS } from "../command.js";
import { withStorage } from "../storage-url.js";
import { SessionReader } from "../stored-sessions.js";
import { formatTable, printable } from "../table.js";
import { dateText } from "../time-text.js";

/** `list`: which accounts there are. */
export const listCommand: Command = {
  usage: "",
  description:
    "Shows which accounts the storage holds. Reads the storage only: it connects nothing, and works beside running processes.",
  options: STORAGE_OPTIONS,
  positionals: { min: 0, max: 0 },
  example: "telegram-session-pool list --storage sqlite:sessions.db",
  run: (context) =>
    withStorage(context, async ({ name, storage }) => {
      const { sessions, rejected } = await new SessionReader(storage).read();
      const json = {
        sessions: sessions.map(({ id, state, tags, addedAt, lastUsedAt, accountId }) => ({
          id,
          state,
          tags,
          addedAt,
          lastUsedAt,
          accountId,
        })),
        rejected,
      };
      if (sessions.length + rejected.length === 0) return { json, text: `${name} holds no accounts.` };
      const hasAccounts = sessions.some(({ accountId }) => accountId !== null);
      const rows = sessions.map(({ id, state, tags, addedAt, lastUsedAt, accountId }) => [
        { text: id },
        { text: state },
        { text: tags.join(", ") },
        { text: dateText(addedAt) },
        { text: dateText(lastUsedAt) },
        ...(hasAccounts ? [{ text: accountId ?? "" }] : []),
      ]);
      const columns = [
        { title: "ID", min: 8 },
        { title: "STATE", min: 10 },
        { title: "TAGS", rank: 3 },
        { title: "ADDED", min: 16, rank: 1 },
        { title: "LAST USED", min: 16, rank: 2 },
        ...(hasAccounts ? [{ title: "ACCOUNT", min: 10, rank: 4 }] : []),
      ];
      const unreadable = rejected.map(({ id, reason }) => printable(`${id}: its record cannot be read (${reason}).`));
      const { terminal } = context;
      return { json, text: [...formatTable(columns, rows, terminal.columns), ...unreadable].join("\n") };
    }),
};
