import type { Command } from "./command.js";

/** A command as the list of commands has it: its module is loaded when it runs. */
export interface ListedCommand {
  readonly summary: string;
  load(): Promise<Command>;
}

/** Every command, in the order of the help. */
export const COMMANDS: Readonly<Record<string, ListedCommand>> = {
  list: {
    summary: "show which accounts the storage holds",
    load: async () => (await import("./commands/list.js")).listCommand,
  },
  status: {
    summary: "show which accounts can work now, and until when the others cannot",
    load: async () => (await import("./commands/status.js")).statusCommand,
  },
};
