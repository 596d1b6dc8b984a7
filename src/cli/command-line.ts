import { parseArgs } from "node:util";
import { nearestName } from "../options/validators.js";
import { type Arguments, type Command, type OptionHelp, type OptionTable, UsageError } from "./command.js";
import { COMMANDS } from "./command-list.js";
import { isPhoneNumber, shown } from "./shown.js";
import { wrap } from "./table.js";

/** How the command is called. */
export const PROGRAM = "telegram-session-pool";

/** The options of every command. */
const COMMON: OptionTable = {
  json: { type: "boolean", description: "print one JSON document on stdout, and nothing else there" },
  help: { type: "boolean", description: "show this help" },
};

/** The options of a command, the common ones last. */
function optionsOf(command: Command): OptionTable {
  return { ...command.options, ...COMMON };
}

/** Reads what follows the name of a command. Throws `UsageError`, which names the option that was probably meant. */
export function parseArguments(name: string, command: Command, words: readonly string[]): Arguments {
  const options = optionsOf(command);
  const values = new Map<string, string[]>();
  const positionals: string[] = [];
  for (const token of tokensOf(words, options)) {
    if (token.kind === "positional") positionals.push(token.value);
    if (token.kind !== "option") continue;
    const option = knownOption(name, token.name, token.rawName, options);
    checkValue(token.name, option, token.value);
    values.set(token.name, [...(values.get(token.name) ?? []), token.value ?? ""]);
  }
  const parsed: Arguments = {
    positionals,
    flag: (option) => values.has(option),
    text: (option) => values.get(option)?.at(-1),
    texts: (option) => values.get(option) ?? [],
  };
  if (!parsed.flag("help")) checkPositionals(name, command, positionals);
  return parsed;
}

type Token = NonNullable<ReturnType<typeof parseArgs>["tokens"]>[number];

function tokensOf(words: readonly string[], options: OptionTable): readonly Token[] {
  const types = Object.fromEntries(Object.entries(options).map(([name, { type }]) => [name, { type }]));
  const short = { help: { type: "boolean", short: "h" } } as const;
  return parseArgs({
    args: [...words],
    options: { ...types, ...short },
    strict: false,
    tokens: true,
    allowPositionals: true,
  }).tokens;
}

function knownOption(command: string, name: string, raw: string, options: OptionTable): OptionHelp {
  const option = Object.hasOwn(options, name) ? options[name] : undefined;
  if (option !== undefined) return option;
  const meant = nearestName(name, Object.keys(options));
  const hint = meant === undefined ? "" : ` Did you mean --${meant}?`;
  throw new UsageError(`"${command}" has no option ${shown(raw)}.${hint}`);
}

function checkValue(name: string, { type, value: placeholder }: OptionHelp, value: string | undefined): void {
  if (type === "boolean" && value !== undefined) throw new UsageError(`--${name} takes no value.`);
  if (type === "string" && (value === undefined || value === "")) {
    throw new UsageError(`--${name} needs a value: --${name} ${placeholder ?? "VALUE"}.`);
  }
}

function checkPositionals(name: string, { usage, positionals: { min, max } }: Command, given: readonly string[]): void {
  if (given.length >= min && given.length <= max) return;
  const problem = given.length < min ? "Something is missing" : `${excess(given[max] ?? "")} is too much`;
  throw new UsageError(`${problem}: ${PROGRAM} ${name} ${usage}`.trimEnd());
}

/** A word too many: perhaps the phone number that `--phone` does not take. */
function excess(word: string): string {
  return isPhoneNumber(word) ? "A phone number" : `"${shown(word)}"`;
}

/** What is wrong with a command that does not exist, and which one was probably meant. */
export function unknownCommand(name: string): UsageError {
  const meant = nearestName(name, Object.keys(COMMANDS));
  const hint = meant === undefined ? ` See "${PROGRAM} --help".` : ` Did you mean "${meant}"?`;
  return new UsageError(`There is no command "${shown(name)}".${hint}`);
}

/** The help of one command. */
export function commandHelp(name: string, command: Command): string {
  const options = Object.entries(optionsOf(command)).map(([option, { value, description }]) => [
    `--${option}${value === undefined ? "" : ` ${value}`}`,
    description,
  ]);
  return [
    ...usageLines(name, command),
    "",
    ...wrap(command.description, HELP_WIDTH),
    "",
    "Options:",
    ...twoColumns(options),
    "",
    `Example: ${command.example}`,
  ].join("\n");
}

/** The usage of a command; what does not fit into a line goes on under its first option. */
function usageLines(name: string, { usage }: Command): readonly string[] {
  const start = `Usage: ${PROGRAM} ${name} `;
  const parts = usage.match(/\[[^\]]*\]|\S+/g) ?? [];
  const lines = [start.trimEnd()];
  for (const part of parts) {
    const line = `${lines.at(-1)} ${part}`;
    if (line.length <= HELP_WIDTH) lines[lines.length - 1] = line;
    else lines.push(`${" ".repeat(start.length - 1)} ${part}`);
  }
  return lines;
}

/** The same for programs. */
export function commandHelpJson(name: string, command: Command): object {
  const { usage, description, example } = command;
  return {
    command: name,
    usage: `${PROGRAM} ${name} ${usage}`.trimEnd(),
    description,
    options: optionsOf(command),
    example,
  };
}

/** The list of commands for programs. */
export function programHelpJson(): object {
  const commands = Object.fromEntries(Object.entries(COMMANDS).map(([name, { summary }]) => [name, summary]));
  return { usage: `${PROGRAM} COMMAND [OPTIONS]`, commands };
}

/** The list of commands. */
export function programHelp(): string {
  return [
    `Usage: ${PROGRAM} COMMAND [OPTIONS]`,
    "",
    "Manages the Telegram accounts of a pool from a terminal.",
    "",
    ...twoColumns(Object.entries(COMMANDS).map(([name, { summary }]) => [name, summary])),
    "",
    ...wrap(
      `"${PROGRAM} COMMAND --help" explains one command. Settings come from the environment or from the file .env: API_ID, API_HASH, SESSION_POOL_STORAGE, SESSION_POOL_KEY. Exit codes: 0 success, 1 something failed or was refused, 2 a mistake in the command line or the settings.`,
      HELP_WIDTH,
    ),
  ].join("\n");
}

const HELP_WIDTH = 80;

function twoColumns(rows: readonly (readonly string[])[]): readonly string[] {
  const width = Math.max(...rows.map(([left = ""]) => left.length)) + 2;
  return rows.flatMap(([left = "", right = ""]) =>
    wrap(right, HELP_WIDTH - width - 2).map((line, index) => `  ${(index === 0 ? left : "").padEnd(width)}${line}`),
  );
}
