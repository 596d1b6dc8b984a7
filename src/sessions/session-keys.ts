import type { ConnectBackoff } from "../connections/connect-backoff.js";
import type { ConnectionPool } from "../connections/connection-pool.js";
import type { Credentials } from "../encryption/credentials.js";
import { duplicateKeyError } from "../error-factories.js";
import type { ResolvedProfile } from "../options/client-profile.js";
import type { Ownership } from "../ownership/ownership.js";
import type { PoolContext } from "../pool-context.js";
import type { PoolLifecycle } from "../pool-lifecycle.js";
import type { AccountFacts } from "../state/account-facts.js";
import { markDirty, type PooledSession } from "../state/pooled-session.js";
import type { SessionRegistry } from "../state/session-registry.js";
import { isOfKey, type SessionStateManager } from "../state/session-state-manager.js";
import { KeyReservations } from "../storage/key-reservations.js";
import type { PeerCacheWriter } from "../storage/peer-cache-writer.js";
import type { RecordWriter } from "../storage/record-writer.js";
import { StorageTimeout } from "../storage/storage-timeout.js";
import type { SessionParts } from "./session-parts.js";

/** The previous credentials of a session whose new key is not confirmed yet. */
interface FormerKey {
  readonly credentials: Credentials;
  readonly fingerprint: string;
}

/** Reserves, confirms and replaces the auth keys of sessions. */
export class SessionKeys {
  readonly reservations: KeyReservations;
  readonly #context: PoolContext;
  readonly #lifecycle: PoolLifecycle;
  readonly #registry: SessionRegistry;
  readonly #ownership: Ownership;
  readonly #sessionState: SessionStateManager;
  readonly #facts: AccountFacts;
  readonly #recordWriter: RecordWriter;
  readonly #peers: PeerCacheWriter;
  readonly #connections: ConnectionPool<unknown>;
  readonly #backOffs: ConnectBackoff;
  /** Former keys of sessions, until the clients that use them are closed. */
  readonly #formerKeys = new Set<string>();
  /** Previous credentials of sessions whose new key is not confirmed. Entries last as long as the session. */
  readonly #unconfirmed = new WeakMap<PooledSession, FormerKey>();

  constructor(context: PoolContext, parts: SessionParts) {
    const { clock, options } = context;
    this.#context = context;
    this.#lifecycle = parts.lifecycle;
    this.#registry = parts.registry;
    this.#ownership = parts.ownership;
    this.#sessionState = parts.sessionState;
    this.#facts = parts.facts;
    this.#recordWriter = parts.recordWriter;
    this.#peers = parts.peers;
    this.#connections = parts.connections;
    this.#backOffs = parts.backOffs;
    this.reservations = new KeyReservations(
      options.storage,
      new StorageTimeout(clock, options.storageTimeoutMs, context.metrics),
      (key, holder) => this.#formerKeys.has(key) || parts.ownership.isForeign(holder),
    );
  }

  /** Replaces the session string; the auth key may stay the same. Throws `DuplicateSessionError`, `StorageError`. */
  async change(known: PooledSession, session: string, fingerprint: string): Promise<void> {
    const { id } = known;
    const credentials = await this.#registry.serializer.encryption.seal(id, session, known.credentials.profile);
    if (known.fingerprint === fingerprint) return this.#replace(known, { credentials, fingerprint });
    const holder = this.#registry.holderOf(fingerprint) ?? (await this.reservations.reserve(fingerprint, id)).holder;
    if (holder !== undefined) throw duplicateKeyError(id, holder, this.#registry.get(holder)?.isRemoving);
    const { gone } = this.#connections.get(id) ?? { gone: Promise.resolve() };
    const former: FormerKey = { credentials: known.credentials, fingerprint: known.fingerprint };
    this.#unconfirmed.set(known, former);
    void this.#facts.leaveAccount(known);
    // It may be the key of another account, and an access hash is valid for one account only.
    const cleared = this.#peers.clear(id);
    await this.#replace(known, { credentials, fingerprint });
    await cleared;
    markDirty(known, "resurrected");
    // A late record is confirmed before a client connects: see `settle`.
    const isWritten = await this.#recordWriter.save(id);
    const faster = isWritten ? await this.settle(known).catch((error: Error) => this.#reportFailure(error)) : undefined;
    if (faster !== undefined) throw duplicateKeyError(id, faster);
    // While a client is connected with it, the former key stays reserved: clients of other processes are not known here.
    if (!this.#ownership.isForeign(id)) this.releaseWhenGone(id, former.fingerprint, gone);
  }

  /**
   * Confirms a new key of the session; to be awaited, with the record on disk, before a client connects. Resolves with the
   * id that was faster: then the session has its former key again.
   */
  async settle(known: PooledSession): Promise<string | undefined> {
    const former = this.#unconfirmed.get(known);
    if (former === undefined) return undefined;
    const faster = await this.reservations.confirm(known.fingerprint, known.id);
    if (this.#unconfirmed.get(known) !== former) return undefined;
    this.#unconfirmed.delete(known);
    if (faster === undefined) return undefined;
    await this.#replace(known, former);
    await this.#recordWriter.save(known.id);
    return faster;
  }

  /** Releases the former key of a session once `isGone` has resolved: no client of this process uses it any more. */
  releaseWhenGone(id: string, former: string, isGone: Promise<void>): void {
    this.#formerKeys.add(former);
    // It may be the session's key again by then.
    const release = (): Promise<void> =>
      this.#registry.changeKey(former, async () => {
        if (this.#registry.holderOf(former) !== id) await this.reservations.release(former, id);
      });
    this.#lifecycle.runInBackground(isGone.then(release).finally(() => this.#formerKeys.delete(former)));
  }

  /** Excludes the session's client from further leases; the current lease may finish. */
  async outdateClient(
    known: PooledSession,
    hasOtherCause: boolean,
    former: ResolvedProfile = known.credentials.profile,
  ): Promise<void> {
    this.#connections.get(known.id)?.markStale("the session was changed");
    if (hasOtherCause) this.#backOffs.causeEnded(known, former);
    if (!known.isLeased) await this.#connections.close(known.id, "the session was changed");
  }

  /** Sets the credentials for the next client of the session. */
  async #replace(known: PooledSession, { credentials, fingerprint }: FormerKey): Promise<void> {
    this.#registry.replaceCredentials(known, credentials, fingerprint);
    markDirty(known, "credentials");
    // Callers may wait for the former account.
    this.#context.events.emit("availabilityChanged");
    const outdated = this.outdateClient(known, true);
    // A new session string makes a dead session free.
    if (known.deadReason !== null || isOfKey(known.restriction?.reason)) {
      markDirty(known, "resurrected");
      this.#sessionState.keyReplaced(known);
    }
    await outdated;
  }

  #reportFailure(error: Error): undefined {
    this.#context.events.emit("storageFailed", error);
    return undefined;
  }
}
