import type { ClientAdapter } from "../connections/client-adapter.js";
import { OptionsError, StorageCorruptError } from "../errors.js";
import { nearestName } from "../options/validators.js";
import { SessionPool } from "../session-pool.js";
import { answered } from "./answering.js";
import { type CommandContext, CommandError } from "./command.js";
import { PROGRAM } from "./command-line.js";
import { ProgressView } from "./progress-bar.js";
import type { Settings } from "./settings.js";
import { shown } from "./shown.js";
import { answering, type FindOptions, findStorage, type NamedStorage } from "./storage-url.js";
import { printable } from "./table.js";

/** What opening a pool needs to know besides the command line. */
export interface PoolOptions extends Partial<Pick<FindOptions, "mayCreate">> {
  /** Whether records that are not encrypted are taken although there is a key. */
  readonly allowPlaintext?: boolean;
}

/** Runs the work with a pool that connects no session by itself, and closes the pool afterwards in any case. */
export function withOfflinePool<T>(
  context: Pick<CommandContext, "settings" | "signal" | "terminal">,
  work: (pool: SessionPool<unknown>, named: NamedStorage) => Promise<T>,
  options: PoolOptions = {},
): Promise<T> {
  return withPool(context, OFFLINE, work, options);
}

/** Works with a pool that connects a session when one is used, and only then. Closes it whatever happens. */
export async function withPool<Client, T>(
  { settings, signal, terminal }: Pick<CommandContext, "settings" | "signal" | "terminal">,
  client: ClientAdapter<Client>,
  work: (pool: SessionPool<Client>, named: NamedStorage) => Promise<T>,
  { mayCreate = false, allowPlaintext = false }: PoolOptions = {},
): Promise<T> {
  const encryption = settings.sealer({ allowPlaintext });
  const named = await findStorage(settings.storageUrl, { mayCreate, signal });
  const { end } = answering(named, signal);
  try {
    signal.throwIfAborted();
    const loading = new ProgressView(terminal, `accounts of ${printable(named.name)}`);
    const opening = SessionPool.open({
      client,
      storage: named.storage,
      encryption,
      keepConnected: false,
      trustServers: settings.privateServer !== undefined,
      onProgress: loading.show,
    });
    const pool = await answered(opening, { signal })
      .catch((error: unknown) => {
        if (signal.aborted) opening.then((late) => late.destroy()).catch(() => {});
        throw error;
      })
      .catch((error: unknown) => {
        throw keyHint(error, settings, named) ?? error;
      })
      .finally(() => loading.end());
    let result: T;
    try {
      result = await work(pool, named);
    } catch (error) {
      await pool.close();
      throw error;
    }
    await closeWritten(pool, named);
    return result;
  } finally {
    await end();
  }
}

/** The storage failed until the end, so that what a command changed is not stored. */
export class NotStoredError extends CommandError {}

/** Closes a pool, which writes what is not written yet. Throws `NotStoredError` if that fails. */
async function closeWritten(pool: SessionPool<unknown>, { name }: NamedStorage): Promise<void> {
  // A failure before this is retried: only what fails at the end stays unwritten.
  let failure: Error | undefined;
  pool.on("storageFailed", ({ error }) => {
    failure ??= error;
  });
  await pool.close();
  if (failure === undefined) return;
  throw new NotStoredError(`${name} failed, and what was changed is not stored: ${failure.message}`, {
    cause: failure,
  });
}

/** Throws `CommandError` for the first id that the pool does not know; `others` are ids that are right all the same. */
export function assertKnown(pool: SessionPool<unknown>, ids: readonly string[], others: readonly string[] = []): void {
  const known = [...pool.sessions().map(({ id }) => id), ...others];
  for (const id of ids) {
    if (known.includes(id)) continue;
    const unreadable = pool.rejected().find((one) => one.id === id);
    if (unreadable !== undefined)
      throw new CommandError(printable(`${id}: its record cannot be read (${unreadable.reason}).`));
    const meant = nearestName(id, known);
    const hint = meant === undefined ? `: see "${PROGRAM} list"` : `; did you mean "${meant}"?`;
    throw new CommandError(`There is no account "${shown(id)}"${hint}${meant === undefined ? "." : ""}`);
  }
}

const OFFLINE: ClientAdapter<never> = {
  open: async () => {},
  create: () => {
    throw new OptionsError("This command connects no account.");
  },
  invoke: async () => {
    throw new OptionsError("This command connects no account.");
  },
};

/** None of the records can be opened: what that means at a terminal. */
function keyHint(error: unknown, { keys }: Settings, { name }: NamedStorage): CommandError | undefined {
  if (!(error instanceof StorageCorruptError) || !/encrypt|key/i.test(error.message)) return undefined;
  return new CommandError(
    keys.length === 0
      ? `The accounts in ${name} are encrypted: put their key into SESSION_POOL_KEY, in the environment or in .env.`
      : `SESSION_POOL_KEY opens no account in ${name}. ${error.message}`,
    { cause: error },
  );
}
