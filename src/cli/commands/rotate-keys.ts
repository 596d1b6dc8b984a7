import type { SessionPool } from "../../session-pool.js";
import { type Command, type CommandContext, STORAGE_OPTIONS, UsageError } from "../command.js";
import { withOfflinePool } from "../pools.js";
import { ProgressView } from "../progress-bar.js";
import { printable } from "../table.js";

/** `rotate-keys`: encrypts everything with the newest key. */
export const rotateKeysCommand: Command = {
  usage: "[--from-plaintext]",
  description:
    "Encrypts every account with the first key of SESSION_POOL_KEY, which holds the new key and then the old ones, separated by commas. Afterwards the old ones can go. Safe to repeat, and beside running processes that know both keys.",
  options: {
    ...STORAGE_OPTIONS,
    "from-plaintext": { type: "boolean", description: "take accounts that are not encrypted yet, and encrypt them" },
  },
  positionals: { min: 0, max: 0 },
  example: 'SESSION_POOL_KEY="$NEW_KEY,$OLD_KEY" telegram-session-pool rotate-keys',
  async run(context) {
    if (context.settings.keys.length === 0) {
      throw new UsageError(
        'SESSION_POOL_KEY is not set. Make a key with "openssl rand -base64 32" and keep it where the storage is not.',
      );
    }
    const allowPlaintext = context.arguments.flag("from-plaintext");
    return withOfflinePool(
      context,
      async (pool) => {
        const rewritten = await rotated(pool, context);
        const rejected = pool.rejected();
        const { total } = pool.status();
        const text = [
          `${rewritten} of ${total} accounts were encrypted again; all of them have the first key of SESSION_POOL_KEY now.`,
          ...rejected.map(({ id, reason }) => `${printable(id)}: left as it is (${printable(reason)}).`),
        ].join("\n");
        return { exitCode: rejected.length === 0 ? 0 : 1, text, json: { rewritten, total, rejected } };
      },
      { allowPlaintext },
    );
  },
};

/** Closing the pool ends the rotation after the records that are being written; a later one goes on from there. */
async function rotated(pool: SessionPool<unknown>, { signal, terminal }: CommandContext): Promise<number> {
  const progress = new ProgressView(terminal, "encrypted");
  const end = (): void => void pool.close();
  signal.addEventListener("abort", end, { once: true });
  try {
    return await pool.rotateKeys({ onProgress: progress.show });
  } finally {
    progress.end();
    signal.removeEventListener("abort", end);
  }
}
