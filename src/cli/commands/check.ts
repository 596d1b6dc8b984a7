import { EXPIRY_LEAD_MS } from "../../connections/expiry-watch.js";
import { SessionNotFoundError } from "../../errors.js";
import type { SessionHealth } from "../../session-info.js";
import type { SessionPool } from "../../session-pool.js";
import { createClientAdapter } from "../client-library.js";
import { CLIENT_OPTIONS, type Command, type CommandContext, STORAGE_OPTIONS, UsageError } from "../command.js";
import { assertKnown, withPool } from "../pools.js";
import { ProgressBar } from "../progress-bar.js";
import { type Column, formatTable, printable } from "../table.js";
import { dateText } from "../time-text.js";

const DEFAULT_CONCURRENCY = 5;
const MOST_AT_ONCE = 100;

/** `check`: asks Telegram about accounts. */
export const checkCommand: Command = {
  usage: "[ID…] [--concurrency N]",
  description:
    "Connects accounts, all without ID, and asks Telegram whether they are alive, frozen or restricted, and when unused ones end. One that cools, or that another process has connected, is not asked. The exit code is 1 when one is not alive.",
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
      const { checked, removed } = await checkAll(pool, ids, concurrency, context);
      const alive = checked.filter(({ isAlive }) => isAlive).length;
      const rejected = positionals.length > 0 ? [] : pool.rejected();
      const unreadable = rejected.map(({ id, reason }) => printable(`${id}: its record cannot be read (${reason}).`));
      const gone = removed.map((id) => printable(`${id}: was removed meanwhile.`));
      const total = checked.length + rejected.length;
      const summary = `${alive} of ${total} alive.`;
      return {
        exitCode: alive === total ? 0 : 1,
        text: [...(checked.length === 0 ? [] : tableOf(checked, context)), ...unreadable, ...gone, summary].join("\n"),
        json: { sessions: checked, rejected, removed },
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

interface Checked {
  /** In the order of the ids. */
  readonly checked: readonly SessionHealth[];
  /** Ids of sessions that were removed before their turn. */
  readonly removed: readonly string[];
}

/** Checks `concurrency` sessions at a time. */
async function checkAll(
  pool: SessionPool<unknown>,
  ids: readonly string[],
  concurrency: number,
  { terminal, signal }: CommandContext,
): Promise<Checked> {
  const bar = new ProgressBar(terminal, ids.length);
  const checked = new Map<string, SessionHealth>();
  const queue = ids.values();
  const worker = async (): Promise<void> => {
    for (const id of queue) {
      const health = await checkUnlessRemoved(pool, id, signal);
      if (health !== undefined) checked.set(id, health);
      bar.advance(id);
    }
  };
  try {
    await Promise.all(Array.from({ length: concurrency }, worker));
  } finally {
    bar.end();
  }
  return { checked: ids.flatMap((id) => checked.get(id) ?? []), removed: ids.filter((id) => !checked.has(id)) };
}

async function checkUnlessRemoved(
  pool: SessionPool<unknown>,
  id: string,
  signal: AbortSignal,
): Promise<SessionHealth | undefined> {
  try {
    return await pool.check(id, { signal });
  } catch (error) {
    if (error instanceof SessionNotFoundError) return undefined;
    throw error;
  }
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

function aboutOf(health: SessionHealth): string {
  const { isBot, isPremium, isFrozen, frozenUntil, restriction, expiresAt, reason } = health;
  const facts = [
    reason,
    isFrozen === true && (frozenUntil === null ? "frozen" : `frozen until ${dateText(frozenUntil)}`),
    isBot === true && "bot",
    isPremium === true && "Premium",
    restriction !== null && (isFrozen === true ? restriction : `restricted: ${restriction}`),
    expiresAt !== null && expiresAt - Date.now() < EXPIRY_LEAD_MS && `ends ${dateText(expiresAt)} if unused`,
  ];
  return facts.filter((fact) => typeof fact === "string").join(", ");
}
