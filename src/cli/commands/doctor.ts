import { type Command, type CommandContext, CommandError, STORAGE_OPTIONS } from "../command.js";
import { checkCredentials } from "../doctor/credential-checks.js";
import { type Finding, type FindingLevel, fail, messageOf, ok, warn } from "../doctor/finding.js";
import { checkDurability, checkFile, checkRecords } from "../doctor/storage-checks.js";
import { checkClient, checkClock, checkNode, checkSqliteDriver } from "../doctor/system-checks.js";
import { answering, findStorage, type NamedStorage } from "../storage-url.js";
import { printable } from "../table.js";
import type { Style } from "../terminal.js";

const STYLES: Readonly<Record<FindingLevel, Style>> = { ok: "green", warn: "yellow", fail: "red" };

/** `doctor`: is everything in order? */
export const doctorCommand: Command = {
  usage: "",
  description:
    "Looks for what is wrong: Node.js, the client library, the clock, the storage with its file or server, the records, the encryption key and the proxies. Changes nothing and connects no account. The exit code is 1 when something does not work.",
  options: STORAGE_OPTIONS,
  positionals: { min: 0, max: 0 },
  example: "telegram-session-pool doctor",
  async run(context) {
    const url = context.settings.storageUrl;
    const findings = [
      checkNode(),
      await checkSqliteDriver(url.startsWith("sqlite:")),
      ...(await checkClient(context)),
      await checkClock(context),
      ...(await checkStorage(url, context)),
    ];
    const failed = findings.filter(({ level }) => level === "fail").length;
    const warned = findings.filter(({ level }) => level === "warn").length;
    const lines = findings.flatMap((finding) => linesOf(finding, context));
    const summary =
      failed + warned === 0
        ? "Everything is in order."
        : `${failed} failed, ${warned} ${warned === 1 ? "warning" : "warnings"}.`;
    return { exitCode: failed === 0 ? 0 : 1, text: [...lines, "", summary].join("\n"), json: { findings } };
  },
};

function linesOf({ check, level, message, advice }: Finding, { terminal }: CommandContext): readonly string[] {
  const head = `${terminal.paint(STYLES[level], level.padEnd(4))}  ${check}: ${printable(message)}`;
  return advice === undefined ? [head] : [head, `      ${printable(advice)}`];
}

async function checkStorage(url: string, context: CommandContext): Promise<readonly Finding[]> {
  let named: NamedStorage;
  try {
    const { signal } = context;
    named = answering(await findStorage(url, { mayCreate: false, signal }), signal);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    return [
      url.startsWith("sqlite:")
        ? warn("storage", messageOf(error), "Nothing to do before the first account.")
        : unreachable(error),
    ];
  }
  try {
    const file = named.path === undefined ? [] : checkFile(named.path);
    return [...file, ...(await checkOpened(named, context))];
  } finally {
    await named.end();
  }
}

function unreachable(error: unknown): Finding {
  return fail("storage", messageOf(error), "Start the server, or correct --storage or SESSION_POOL_STORAGE.");
}

async function checkOpened(named: NamedStorage, context: CommandContext): Promise<readonly Finding[]> {
  const { storage, name } = named;
  try {
    const startedAt = Date.now();
    await storage.open?.();
    const records = await storage.list();
    const reachable = ok("storage", `${name} answers (${Date.now() - startedAt} ms for all records)`);
    const { readable, findings } = checkRecords(records);
    return [reachable, ...(await checkDurability(named)), ...findings, ...(await checkCredentials(readable, context))];
  } catch (error) {
    context.signal.throwIfAborted();
    return [fail("storage", `${name} does not work: ${messageOf(error)}`, "docs/storage.md explains the settings.")];
  } finally {
    await storage.close?.();
  }
}
