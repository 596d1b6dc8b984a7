import type { ResolvedOptions } from "../options/options.js";
import { ownIdentity } from "../ownership/process-identity.js";
import { SingleProcessLock } from "../ownership/single-process-lock.js";
import { isInMemory } from "./memory.js";
import type { StoredRecord } from "./storage.js";
import { LISTING_TAKES, StorageTimeout } from "./storage-timeout.js";

/** What an opened storage holds. */
export interface OpenedStorage {
  readonly records: readonly StoredRecord[];
  /** Of a storage that is made for one process. */
  readonly processLock: SingleProcessLock | undefined;
}

/** Opens the client library and the storage, and reads it. What was opened is closed again when something fails. */
export async function openStorage<Client>(options: ResolvedOptions<Client>): Promise<OpenedStorage> {
  const { storage, clock, storageTimeoutMs, ownership } = options;
  await options.client.open();
  const deadline = new StorageTimeout(clock, storageTimeoutMs);
  const patient = deadline.times(LISTING_TAKES);
  const isForOne = !storage.shared && !isInMemory(storage);
  const self = ownIdentity(ownership.host);
  const processLock = isForOne
    ? new SingleProcessLock({ storage, clock, deadline, ttlMs: ownership.ttlMs, self })
    : undefined;
  try {
    await patient.run("be opened", () => storage.open?.());
    await processLock?.claim();
    const records = await patient.run("be listed", () => storage.list());
    return { records, processLock };
  } catch (error) {
    await processLock?.release().catch(() => {});
    await deadline.run("be closed", () => storage.close?.()).catch(() => {});
    throw error;
  }
}
