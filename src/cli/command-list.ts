import type { Command } from "./command.js";

/** A command as the list of commands has it: its module is loaded when it runs. */
export interface ListedCommand {
  readonly summary: string;
  load(): Promise<Command>;
}

/** Every command, in the order of the help. */
export const COMMANDS: Readonly<Record<string, ListedCommand>> = {
  login: {
    summary: "sign an account in, by QR code or phone number",
    load: async () => (await import("./commands/login.js")).loginCommand,
  },
  import: {
    summary: "add the accounts in files of other programs",
    load: async () => (await import("./commands/import.js")).importCommand,
  },
  list: {
    summary: "show which accounts the storage holds",
    load: async () => (await import("./commands/list.js")).listCommand,
  },
  status: {
    summary: "show which accounts can work now, and until when the others cannot",
    load: async () => (await import("./commands/status.js")).statusCommand,
  },
  dashboard: {
    summary: "show the same as a page in the browser",
    load: async () => (await import("./commands/dashboard.js")).dashboardCommand,
  },
  check: {
    summary: "ask Telegram whether accounts are alive",
    load: async () => (await import("./commands/check.js")).checkCommand,
  },
  disable: {
    summary: "keep accounts back",
    load: async () => (await import("./commands/change-sessions.js")).disableCommand,
  },
  enable: {
    summary: "let accounts work again",
    load: async () => (await import("./commands/change-sessions.js")).enableCommand,
  },
  remove: {
    summary: "forget accounts",
    load: async () => (await import("./commands/change-sessions.js")).removeCommand,
  },
  export: {
    summary: "print the session string of an account",
    load: async () => (await import("./commands/export.js")).exportCommand,
  },
  duplicate: {
    summary: "make a second session of an account",
    load: async () => (await import("./commands/duplicate.js")).duplicateCommand,
  },
  "rotate-keys": {
    summary: "encrypt every account with a new key",
    load: async () => (await import("./commands/rotate-keys.js")).rotateKeysCommand,
  },
  doctor: {
    summary: "look for what is wrong",
    load: async () => (await import("./commands/doctor.js")).doctorCommand,
  },
  "test-server": {
    summary: "run a Telegram server on this machine, for tests",
    load: async () => (await import("./commands/test-server.js")).testServerCommand,
  },
  demo: {
    summary: "show the pool at work, without an account",
    load: async () => (await import("./commands/demo.js")).demoCommand,
  },
};
