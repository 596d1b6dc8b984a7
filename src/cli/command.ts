import type { Settings } from "./settings.js";
import type { Terminal } from "./terminal.js";

/** How the process ends: everything is as asked, something is not, or the command line is wrong. */
export type ExitCode = 0 | 1 | 2;

/** One `--option` of a command. */
export interface OptionHelp {
  readonly type: "boolean" | "string";
  /** Placeholder for its value in the help: `"FILE"`. */
  readonly value?: string;
  readonly description: string;
  /** Whether it may be given several times. */
  readonly multiple?: boolean;
}

/** The options of a command, by name. */
export type OptionTable = Readonly<Record<string, OptionHelp>>;

/** What a command line says after the name of the command. */
export interface Arguments {
  readonly positionals: readonly string[];
  /** Whether a boolean option was given. */
  flag(name: string): boolean;
  /** The value of an option, the last one when it was given several times. */
  text(name: string): string | undefined;
  /** Every value of an option. */
  texts(name: string): readonly string[];
}

/** What a command works with. */
export interface CommandContext {
  readonly arguments: Arguments;
  readonly settings: Settings;
  readonly terminal: Terminal;
  /** Aborts on Ctrl-C and SIGTERM. */
  readonly signal: AbortSignal;
}

/** What a command has to say at its end. One of `text` and `json` is printed on stdout. */
export interface CommandResult {
  readonly exitCode?: ExitCode;
  /** For people. Nothing is printed when it is empty. */
  readonly text: string;
  /** For programs: `--json` prints it. `undefined` when everything was printed already. */
  readonly json: unknown;
}

/** One command of the command line. */
export interface Command {
  /** What follows the name in its help: `"ID… [--yes]"`. */
  readonly usage: string;
  /** One or two sentences. */
  readonly description: string;
  readonly options: OptionTable;
  /** How many words may follow the name. */
  readonly positionals: { readonly min: number; readonly max: number };
  /** A whole command line. */
  readonly example: string;
  run(context: CommandContext): Promise<CommandResult>;
}

/** A mistake in the command line or in the settings: the process ends with 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** What was asked for could not be done: one sentence, and the process ends with 1. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}

/** The options of every command that reads or writes a storage. */
export const STORAGE_OPTIONS: OptionTable = {
  storage: {
    type: "string",
    value: "URL",
    description:
      "sqlite:FILE, redis://…, rediss://… or postgres://… (SESSION_POOL_STORAGE; default sqlite:sessions.db)",
  },
};

/** The options of every command that connects accounts. */
export const CLIENT_OPTIONS: OptionTable = {
  client: {
    type: "string",
    value: "NAME",
    description: "gramjs or teleproto (SESSION_POOL_CLIENT; default the one that is installed)",
  },
};

/** The option of every command that asks before it acts. */
export const CONFIRM_OPTIONS: OptionTable = {
  yes: { type: "boolean", description: "do not ask" },
};
