import type { SessionHealth } from "../../session-info.js";
import type { SessionPool } from "../../session-pool.js";
import { createClientAdapter } from "../client-library.js";
import { CLIENT_OPTIONS, type Command, type CommandContext, STORAGE_OPTIONS, UsageError } from "../command.js";
import { assertKnown, withPool } from "../pools.js";
import { ProgressBar } from "../progress-bar.js";
import { type Column, formatTable, printable } from "../table.js";

const DEFAULT_CONCURRENCY = 5;
const MOST_AT_ONCE = 100;

/** `check`: asks Telegram about accounts. */
export const checkCommand: Command = {
  usage: "[ID…] [--concurrency N]",
  description:
    "Connects accounts, all without ID, and asks Telegram whether they are alive. One that cools, or that another process has connected, is not asked. The exit code is 1 when one is not alive.",
  options: {
    ...STORAGE_OPTIONS,
    ...CLIENT_OPTIONS,
    concurrency: { type: "string", value: "N", description: `how many at once (default ${DEFAULT_CONCURRENCY})` },
  },
  positionals: { min: 0, max: Number.POSITIVE_INFINITY },
  example: "telegram-session-pool check alice bob",
  async run(context) {
    const concurrency = concurrencyOf(context);
    const client = await createClientAdapter(context.settings);
    return withPool(context, client, async (pool) => {
      const { positionals } = context.arguments;
      assertKnown(pool, positionals);
      const ids = positionals.length > 0 ? [...new Set(positionals)] : pool.sessions().map(({ id }) => id);
      const checked = await checkAll(pool, ids, concurrency, context);
      const alive = checked.filter(({ isAlive }) => isAlive).length;
      const rejected = positionals.length > 0 ? [] : pool.rejected();
      const unreadable = rejected.map(({ id, reason }) => printable(`${id}: its record cannot be read (${reason}).`));
      const total = checked.length + rejected.length;
      const summary = `${alive} of ${total} alive.`;
      return {
        exitCode: alive === total ? 0 : 1,
        text: [...(checked.length === 0 ? [] : tableOf(checked, context)), ...unreadable, summary].join("\n"),
        json: { sessions: checked, rejected },
      };
    });
  },
};

function concurrencyOf({ arguments: given }: CommandContext): number {
  const text = given.text("concurrency") ?? `${DEFAULT_CONCURRENCY}`;
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= 1 && count <= MOST_AT_ONCE) return count;
  throw new UsageError(`--concurrency must be a whole number from 1 to ${MOST_AT_ONCE}; got "${text}".`);
}

/** Checks `concurrency` sessions at a time; the results are in the order of the ids. */
async function checkAll(
  pool: SessionPool<unknown>,
  ids: readonly string[],
  concurrency: number,
  { terminal, signal }: CommandContext,
): Promise<readonly SessionHealth[]> {
  const bar = new ProgressBar(terminal, ids.length);
  const checked = new Map<string, SessionHealth>();
  const queue = ids.values();
  const worker = async (): Promise<void> => {
    for (const id of queue) {
      checked.set(id, await pool.check(id, { signal }));
      bar.advance(id);
    }
  };
  try {
    await Promise.all(Array.from({ length: concurrency }, worker));
  } finally {
    bar.end();
  }
  return ids.flatMap((id) => checked.get(id) ?? []);
}

const COLUMNS: readonly Column[] = [
  { title: "ID", min: 8 },
  { title: "ALIVE" },
  { title: "ACCOUNT", rank: 2 },
  { title: "DC", rank: 1 },
  { title: "ABOUT", min: 12 },
];

function tableOf(checked: readonly SessionHealth[], { terminal }: CommandContext): readonly string[] {
  const rows = checked.map((health) => [
    { text: health.id },
    {
      text: health.isAlive ? "yes" : "no",
      paint: (text: string) => terminal.paint(health.isAlive ? "green" : "red", text),
    },
    { text: health.accountId ?? "" },
    { text: `${health.dcId}` },
    { text: aboutOf(health) },
  ]);
  return formatTable(COLUMNS, rows, terminal.columns);
}

function aboutOf({ isBot, isPremium, isFrozen, restriction, reason }: SessionHealth): string {
  const facts = [
    reason,
    isFrozen === true && "frozen",
    isBot === true && "bot",
    isPremium === true && "Premium",
    restriction !== null && `restricted: ${restriction}`,
  ];
  return facts.filter((fact) => typeof fact === "string").join(", ");
}
