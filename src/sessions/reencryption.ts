import { ProgressReporter } from "../common/progress.js";
import type { CredentialEncryption } from "../encryption/credentials.js";
import { arePeersCurrent, encryptedPeerStorage } from "../encryption/encrypted-peers.js";
import { writeTimedOutError } from "../error-factories.js";
import { OptionsError } from "../errors.js";
import type { ResolvedProfile } from "../options/client-profile.js";
import type { RotateKeysOptions, RotateKeysProgress } from "../options/options.js";
import type { PoolContext } from "../pool-context.js";
import type { PoolLifecycle } from "../pool-lifecycle.js";
import { markDirty, type PooledSession } from "../state/pooled-session.js";
import type { SessionRegistry } from "../state/session-registry.js";
import type { RecordWriter } from "../storage/record-writer.js";
import { StorageTimeout } from "../storage/storage-timeout.js";
import type { StorageSync } from "./storage-sync.js";

/** Maximum number of records that are re-encrypted at once, in a storage that writes many together. */
const MAX_CONCURRENCY = 100;

/** Re-encrypts with the current key all data that is encrypted with an older key, or not at all. */
export class Reencryption {
  readonly #context: PoolContext;
  readonly #lifecycle: PoolLifecycle;
  readonly #registry: SessionRegistry;
  readonly #recordWriter: RecordWriter;
  readonly #storageSync: StorageSync;

  constructor(
    context: PoolContext,
    lifecycle: PoolLifecycle,
    registry: SessionRegistry,
    recordWriter: RecordWriter,
    storageSync: StorageSync,
  ) {
    this.#context = context;
    this.#lifecycle = lifecycle;
    this.#registry = registry;
    this.#recordWriter = recordWriter;
    this.#storageSync = storageSync;
  }

  /**
   * Resolves with the number of rewritten records. A record that cannot be written ends it, and so does `close`, which waits
   * for the current record only, or for those that a storage with `writeMany` is written together: what was done stays
   * done.
   */
  async rotate({ onProgress }: RotateKeysOptions): Promise<number> {
    if (this.#context.options.encryption === undefined) {
      throw new OptionsError("rotateKeys: the pool has no encryption; open it with encryption: aesGcm(key).");
    }
    await this.#storageSync.syncAll();
    let rewritten = 0;
    const failures: unknown[] = [];
    const all = this.#registry.ids();
    const ids = all.values();
    const state = (done: number): RotateKeysProgress => ({ done, total: all.length, rewritten });
    const progress = new ProgressReporter("onProgress of rotateKeys", onProgress, this.#context.clock, state);
    const rotateNext = async (): Promise<void> => {
      for (const id of ids) {
        if (failures.length > 0) return;
        try {
          if (await this.#rotateExclusively(id)) rewritten++;
          progress.advance();
        } catch (error) {
          failures.push(error);
        }
      }
    };
    const concurrency = this.#context.options.storage.writeMany === undefined ? 1 : MAX_CONCURRENCY;
    await Promise.all(Array.from({ length: concurrency }, rotateNext));
    progress.report();
    if (failures.length > 0) throw failures[0];
    return rewritten;
  }

  #rotateExclusively(id: string): Promise<boolean> {
    return this.#registry.change(id, undefined, () => {
      const closed = this.#lifecycle.closedError();
      if (closed !== undefined) throw closed;
      return this.#rotate(id);
    });
  }

  async #rotate(id: string): Promise<boolean> {
    const known = this.#registry.get(id);
    if (known === undefined) return false;
    await this.#rotatePeers(id);
    // Credentials that are encrypted again but not on disk yet count as not rewritten.
    if (this.#registry.serializer.encryption.isCurrent(known.credentials) && !known.pendingChanges.has("credentials"))
      return false;
    await reencrypt(this.#registry.serializer.encryption, known);
    if (!(await this.#recordWriter.save(id))) throw writeTimedOutError(id);
    return true;
  }

  /** Encrypts all rows again if one is not current, or is not found by its username. Rows that cannot be decrypted are dropped. */
  async #rotatePeers(id: string): Promise<void> {
    const { clock, options } = this.#context;
    const { encryption: sealer, storage } = options;
    const { peers } = storage;
    const deadline = new StorageTimeout(clock, options.storageTimeoutMs);
    if (sealer === undefined || peers === undefined) return;
    const rows = await deadline.run(`load the peers of "${id}"`, () => peers.load(id));
    if (await deadline.run(`open the peers of "${id}"`, () => arePeersCurrent(sealer, id, rows))) return;
    const sealed = encryptedPeerStorage(peers, sealer);
    const known = await deadline.run(`load the peers of "${id}"`, () => sealed.load(id));
    await deadline.run(`clear the peers of "${id}"`, () => peers.clear(id));
    await deadline.run(`write the peers of "${id}"`, () => sealed.save(id, known));
  }
}

/**
 * Encrypts a session's credentials again, with another profile if one is given. If another process changes them while the
 * sealer works, that change is kept and encrypted instead. The caller still has to write the record.
 */
export async function reencrypt(
  sealing: CredentialEncryption,
  known: PooledSession,
  profile?: ResolvedProfile,
): Promise<void> {
  for (;;) {
    const { credentials } = known;
    const sealed = await sealing.seal(known.id, credentials.reveal(), profile ?? credentials.profile);
    if (known.credentials !== credentials) continue;
    known.credentials = sealed;
    markDirty(known, "credentials");
    return;
  }
}
