import type { CommandContext } from "./command.js";
import { type FindOptions, findStorage, type NamedStorage } from "./storage-url.js";

/** Opens the storage that the command line names, and closes it whatever happens. */
export async function withStorage<T>(
  { settings, signal }: Pick<CommandContext, "settings" | "signal">,
  work: (named: NamedStorage) => Promise<T>,
  options: FindOptions = { mayCreate: false },
): Promise<T> {
  const named = await findStorage(settings.storageUrl, options);
  try {
    signal.throwIfAborted();
    await named.storage.open?.();
    try {
      return await work(named);
    } finally {
      await named.storage.close?.();
    }
  } finally {
    await named.end();
  }
}
