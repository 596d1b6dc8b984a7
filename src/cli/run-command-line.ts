import { readFileSync } from "node:fs";
import { OptionsError, SessionPoolError } from "../errors.js";
import { type Command, CommandError, type CommandResult, UsageError } from "./command.js";
import {
  commandHelp,
  commandHelpJson,
  PROGRAM,
  parseArguments,
  programHelp,
  programHelpJson,
  unknownCommand,
} from "./command-line.js";
import { COMMANDS } from "./command-list.js";
import { Settings } from "./settings.js";
import { shown, withoutSessions } from "./shown.js";
import { Terminal } from "./terminal.js";

/** Exit codes after a signal, as shells count them: 128 plus the signal's number. */
const SIGNAL_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
/** The code of SIGPIPE: the reader of the output has ended, as in `… | head`. */
const BROKEN_PIPE = 141;

/** The reason of the command's signal after Ctrl-C or a signal that ends the process. */
class Interruption extends Error {
  override readonly name = "Interruption";
  readonly exitCode: number;

  constructor(exitCode: number) {
    super("Interrupted.");
    this.exitCode = exitCode;
  }
}

/** Runs one command line to its end. Resolves the exit code; never rejects. */
export async function runCommandLine(process: NodeJS.Process): Promise<number> {
  const interruption = new AbortController();
  const interrupt = (exitCode: number): void => {
    // The second Ctrl-C exits at once, which is safe: every write of a storage is atomic.
    if (interruption.signal.aborted && exitCode !== BROKEN_PIPE) process.exit(exitCode);
    interruption.abort(new Interruption(exitCode));
  };
  const listeners = Object.entries(SIGNAL_CODES).map(([name, exitCode]) => [name, () => interrupt(exitCode)] as const);
  for (const [name, listener] of listeners) process.on(name, listener);
  const terminal = new Terminal(process, () => interrupt(SIGNAL_CODES.SIGINT));
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => interrupt(BROKEN_PIPE));
  const restoreWarnings = noteWarnings(process, terminal);
  const words = process.argv.slice(2);
  try {
    return await run(words, process.env, terminal, interruption.signal);
  } catch (error) {
    return fail(interruption.signal.aborted ? interruption.signal.reason : error, isJsonAsked(words), words, terminal);
  } finally {
    for (const [name, listener] of listeners) process.off(name, listener);
    restoreWarnings();
    terminal.close();
  }
}

/** How long what a command has left behind may keep its process alive. */
const LEFT_OVER_MS = 500;

/**
 * Ends the process when its output is written, even if something still runs: a connection to a server that does not answer, or
 * a statement that waits for the lock of another process. The timer alone does not keep it alive.
 */
export function endSoon(process: NodeJS.Process): void {
  setTimeout(() => {
    if (process.stdout.writableLength + process.stderr.writableLength === 0) process.exit();
    endSoon(process);
  }, LEFT_OVER_MS).unref();
}

/** Warnings of the process as messages. Experimental features of Node.js (SQLite in version 22) are no concern of the user. */
function noteWarnings(process: NodeJS.Process, terminal: Terminal): () => void {
  const former = process.listeners("warning");
  const note = ({ name, message }: Error): void => {
    if (name !== "ExperimentalWarning") terminal.note(`${terminal.paintNote("yellow", "warning:")} ${message}`);
  };
  process.removeAllListeners("warning").on("warning", note);
  return () => {
    // A warning is emitted in the next turn.
    setImmediate(() => {
      process.off("warning", note);
      for (const listener of former) process.on("warning", listener);
    });
  };
}

async function run(
  words: readonly string[],
  environment: NodeJS.ProcessEnv,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<number> {
  const [name, ...rest] = words;
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    const about = name === "help" ? rest[0] : undefined;
    const command = about === undefined || about.startsWith("-") ? undefined : ([about, await load(about)] as const);
    const text = command === undefined ? programHelp() : commandHelp(...command);
    const json = command === undefined ? programHelpJson() : commandHelpJson(...command);
    print({ text, json }, isJsonAsked(words), terminal);
    return name === undefined ? 2 : 0;
  }
  if (name === "--version" || name === "-v") {
    terminal.print(versionOfPackage());
    return 0;
  }
  const command = await load(name);
  const given = parseArguments(name, command, rest);
  if (given.flag("help")) {
    print({ text: commandHelp(name, command), json: commandHelpJson(name, command) }, given.flag("json"), terminal);
    return 0;
  }
  const settings = new Settings(environment, given);
  const result = await command.run({ arguments: given, settings, terminal, signal });
  print(result, given.flag("json"), terminal);
  return result.exitCode ?? 0;
}

async function load(name: string): Promise<Command> {
  if (name.startsWith("-")) throw new UsageError(`A command comes first: ${PROGRAM} COMMAND ${shown(name)}.`);
  const listed = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (listed === undefined) throw unknownCommand(name);
  return listed.load();
}

function print({ text, json }: CommandResult, isJson: boolean, terminal: Terminal): void {
  const output = isJson ? (json === undefined ? "" : JSON.stringify(json, undefined, 2)) : text;
  if (output !== "") terminal.print(output);
}

function fail(error: unknown, isJson: boolean, words: readonly string[], terminal: Terminal): number {
  const { code, exitCode, ...described } = describe(error);
  const message = withoutSessions(described.message);
  if (isJson) terminal.print(JSON.stringify({ error: { code, message } }, undefined, 2));
  terminal.note(`${terminal.paintNote("red", "error:")} ${message}`);
  const [name = ""] = words;
  if (error instanceof UsageError && Object.hasOwn(COMMANDS, name)) {
    terminal.note(`See "${PROGRAM} ${name} --help".`);
  }
  return exitCode;
}

function describe(error: unknown): { readonly code: string; readonly exitCode: number; readonly message: string } {
  if (error instanceof Interruption) return { code: "INTERRUPTED", exitCode: error.exitCode, message: error.message };
  if (error instanceof UsageError) return { code: "USAGE", exitCode: 2, message: error.message };
  if (error instanceof OptionsError) return { code: error.code, exitCode: 2, message: error.message };
  if (error instanceof SessionPoolError) return { code: error.code, exitCode: 1, message: error.message };
  if (error instanceof CommandError) return { code: "FAILED", exitCode: 1, message: error.message };
  const message = error instanceof Error ? error.message : String(error);
  return { code: "UNEXPECTED", exitCode: 1, message };
}

/** Also when the command line could not be read: a program that asked for JSON gets JSON. */
function isJsonAsked(words: readonly string[]): boolean {
  const end = words.indexOf("--");
  return (end === -1 ? words : words.slice(0, end)).includes("--json");
}

/** The package's own file lies in one of the folders above this one: how many, the build decides. */
function versionOfPackage(): string {
  for (let folder = new URL("./", import.meta.url); ; folder = new URL("../", folder)) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL("package.json", folder), "utf8")) as {
        readonly name?: string;
        readonly version?: string;
      };
      if (name === "telegram-session-pool" && version !== undefined) return version;
    } catch {
      // None here.
    }
    if (folder.pathname === "/" || folder.href === new URL("../", folder).href) return "unknown";
  }
}
