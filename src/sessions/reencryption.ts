import type { KeyedMutex } from "../common/keyed-mutex.js";
import type { CredentialEncryption } from "../encryption/credentials.js";
import { encryptedPeerStorage } from "../encryption/encrypted-peers.js";
import { isFresh, type Sealer } from "../encryption/sealer.js";
import { writeTimedOutError } from "../error-factories.js";
import { OptionsError, type PoolClosedError } from "../errors.js";
import type { ClientProfile } from "../options/client-profile.js";
import { markDirty, type PooledSession } from "../state/pooled-session.js";
import type { SessionRegistry } from "../state/session-registry.js";
import type { RecordWriter } from "../storage/record-writer.js";
import type { PeerStorage } from "../storage/storage.js";
import type { StorageTimeout } from "../storage/storage-timeout.js";

/** Dependencies of `Reencryption`. */
export interface ReencryptionDeps {
  readonly sealer: Sealer | undefined;
  readonly sealing: CredentialEncryption;
  readonly registry: SessionRegistry;
  readonly recordWriter: RecordWriter;
  readonly locks: KeyedMutex;
  readonly deadline: StorageTimeout;
  /** As they are stored. */
  readonly peers: PeerStorage | undefined;
  /** Syncs with the changes of other processes. Rejects if the storage fails. */
  syncAll(): Promise<void>;
  /** The error for calls after the pool was closed, if it was. */
  closed(): PoolClosedError | undefined;
}

/** Re-encrypts with the newest key whatever is encrypted with an older key or not at all. */
export class Reencryption {
  readonly #parts: ReencryptionDeps;

  constructor(parts: ReencryptionDeps) {
    this.#parts = parts;
  }

  /**
   * Resolves how many records were rewritten. One that could not be written ends it, and so does `close`, which waits for
   * one record alone: what was done stays done.
   */
  async rotate(): Promise<number> {
    const { sealer, registry, locks, syncAll: lookAround } = this.#parts;
    if (sealer === undefined) {
      throw new OptionsError("rotateKeys: the pool has no encryption; open it with encryption: aesGcm(key).");
    }
    await lookAround();
    let count = 0;
    for (const id of registry.ids()) {
      const isRewritten = await locks.runExclusive([`id ${id}`], () => {
        const closed = this.#parts.closed();
        if (closed !== undefined) throw closed;
        return this.#rotate(id);
      });
      if (isRewritten) count++;
    }
    return count;
  }

  async #rotate(id: string): Promise<boolean> {
    const { sealing, registry, recordWriter } = this.#parts;
    const known = registry.get(id);
    if (known === undefined) return false;
    await this.#rotatePeers(id);
    // What was sealed anew and is not on disk yet is not done.
    if (sealing.isCurrent(known.credentials) && !known.pendingChanges.has("credentials")) return false;
    await reencrypt(sealing, known);
    if (!(await recordWriter.save(id))) throw writeTimedOutError(id);
    return true;
  }

  /** Seals all rows anew if one is not fresh. Those that cannot be opened go: nobody could use them. */
  async #rotatePeers(id: string): Promise<void> {
    const { sealer, peers, deadline } = this.#parts;
    if (sealer === undefined || peers === undefined) return;
    const rows = await deadline.run(`load the peers of "${id}"`, () => peers.load(id));
    if (rows.every(({ accessHash }) => isFresh(sealer, accessHash))) return;
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
  profile?: ClientProfile,
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
