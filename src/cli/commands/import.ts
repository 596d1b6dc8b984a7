import { existsSync } from "node:fs";
import { type ImportedAccount, type ImportProgress, type ImportReport, importAccounts } from "../../import/index.js";
import type { SessionPool } from "../../session-pool.js";
import { type Command, type CommandContext, CommandError, STORAGE_OPTIONS } from "../command.js";
import { PROGRAM } from "../command-line.js";
import { withOfflinePool } from "../pools.js";
import { ProgressText } from "../progress-bar.js";
import { Prompt } from "../prompt.js";
import { shown } from "../shown.js";
import { printable } from "../table.js";

/** `import`: accounts out of the files of other programs. */
export const importCommand: Command = {
  usage: "PATH… [--dry-run] [--tag TAG] [--passcode]",
  description:
    "Adds the accounts in files and folders: session files of Telethon and Pyrogram with the .json beside them, tdata of Telegram Desktop, text files of session strings. Says what it did with each file. Sources are only read. Close the program that uses an account first: Telegram ends a login that is used twice.",
  options: {
    ...STORAGE_OPTIONS,
    "dry-run": { type: "boolean", description: "say what would be done, and add nothing" },
    tag: { type: "string", value: "TAG", description: "a tag of every account that is added; may be repeated" },
    passcode: { type: "boolean", description: "ask for the local passcode of Telegram Desktop" },
  },
  positionals: { min: 1, max: Number.POSITIVE_INFINITY },
  example: "telegram-session-pool import accounts/ --dry-run",
  async run(context) {
    const { terminal, signal, arguments: given } = context;
    const isDryRun = given.flag("dry-run");
    const missing = given.positionals.find((path) => !existsSync(path));
    if (missing !== undefined) throw new CommandError(`There is no file and no folder "${shown(missing)}".`);
    const passcode = given.flag("passcode")
      ? (await new Prompt(terminal, signal).askSecret("Local passcode of Telegram Desktop: ")) || undefined
      : undefined;
    return withOfflinePool(
      context,
      async (pool) => {
        const report = await importAll(pool, passcode, isDryRun, context);
        return {
          exitCode: report.refused.length === 0 ? 0 : 1,
          text: textOf(report, isDryRun, context).join("\n"),
          json: { isDryRun, ...report },
        };
      },
      { mayCreate: isDryRun ? "inMemory" : true },
    );
  },
};

async function importAll(
  pool: SessionPool<unknown>,
  passcode: string | undefined,
  dryRun: boolean,
  context: CommandContext,
): Promise<ImportReport> {
  const { terminal, signal, arguments: given } = context;
  const progress = new ProgressText(terminal);
  const reports: ImportReport[] = [];
  let latest = { added: 0, known: 0 };
  let isAborted = false;
  const onAborted = (report: ImportReport): void => {
    isAborted = true;
    reports.push(report);
  };
  try {
    for (const path of given.positionals) {
      const onProgress = ({ read, path: file, added, known }: ImportProgress): void => {
        latest = { added, known };
        progress.show(`${read} read: ${file}`);
      };
      const tags = given.texts("tag");
      reports.push(await importAccounts(pool, path, { dryRun, tags, passcode, signal, onProgress, onAborted }));
      latest = { added: 0, known: 0 };
    }
  } catch (error) {
    progress.end();
    if (isAborted) {
      if (!given.flag("json")) terminal.print(textOf(merged(reports), dryRun, context).join("\n"));
      terminal.note("The import was interrupted. Import again to add the rest.");
    } else if (!dryRun) {
      const { added, known } = merged(reports);
      const counts = `${added.length + latest.added} added and ${known.length + latest.known} known`;
      terminal.note(`At least ${counts} before the import failed. Import again to add the rest.`);
    }
    throw error;
  } finally {
    progress.end();
  }
  return merged(reports);
}

function merged(reports: readonly ImportReport[]): ImportReport {
  return {
    added: reports.flatMap(({ added }) => added),
    known: reports.flatMap(({ known }) => known),
    refused: reports.flatMap(({ refused }) => refused),
  };
}

function textOf(
  { added, known, refused }: ImportReport,
  isDryRun: boolean,
  { terminal }: CommandContext,
): readonly string[] {
  const verb = isDryRun ? "would add" : "added";
  const width = Math.max(verb.length, "refused".length);
  const line = (what: string, { id, format, path }: ImportedAccount): string =>
    `${what.padEnd(width)}  ${printable(id)} (${format}, ${printable(path)})`;
  const lines = [
    ...added.map((account) => terminal.paint("green", line(verb, account))),
    ...known.map((account) => line("known", account)),
    ...refused.map(({ path, reason }) =>
      terminal.paint("red", `${"refused".padEnd(width)}  ${printable(path)}: ${inCommandWords(reason)}`),
    ),
  ];
  const warnings = warningsOf([...added, ...known]).map((warning) => terminal.paint("yellow", `warning: ${warning}`));
  const verbs = isDryRun ? "would be added" : "added";
  return [...lines, ...warnings, `${added.length} ${verbs}, ${known.length} known, ${refused.length} refused.`];
}

/** What each file warns of, once. */
function warningsOf(accounts: readonly ImportedAccount[]): readonly string[] {
  return [...new Set(accounts.flatMap(({ warnings }) => warnings.map(inCommandWords)))];
}

/** What the library says in terms of its functions, in terms of this command. */
function inCommandWords(text: string): string {
  return printable(text)
    .replace("pool.duplicate(id, newId)", `"${PROGRAM} duplicate ID NEWID"`)
    .replace("Give it as the option passcode", "Add --passcode")
    .replace("Rename the file, or give the account another id by the option name.", "Rename the file.");
}
