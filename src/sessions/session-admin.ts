import { isDeepStrictEqual } from "node:util";
import type { LeaseScheduler } from "../acquire/lease-scheduler.js";
import type { KeyedMutex } from "../common/keyed-mutex.js";
import type { PoolTime } from "../common/pool-time.js";
import type { ConnectBackoff } from "../connections/connect-backoff.js";
import type { ConnectionPool } from "../connections/connection-pool.js";
import { type CredentialEncryption, type Credentials, NO_PROFILE } from "../encryption/credentials.js";
import {
  duplicateKeyError,
  removalPendingError,
  unknownSessionError,
  unreadableRecordError,
} from "../error-factories.js";
import {
  DuplicateSessionError,
  InvalidSessionError,
  SessionPoolError,
  StorageCorruptError,
  StorageError,
} from "../errors.js";
import type { ClientProfile } from "../options/client-profile.js";
import type { AddOptions, SessionChange } from "../options/options.js";
import type { SessionInfo } from "../options/session-info.js";
import { checkAddArguments, checkChange } from "../options/validate.js";
import type { Ownership } from "../ownership/ownership.js";
import { type LocalChange, markDirty, PooledSession } from "../state/pooled-session.js";
import type { SessionRegistry } from "../state/session-registry.js";
import { isOfKey, type SessionStateManager } from "../state/session-state.js";
import type { SessionTable } from "../state/session-table.js";
import type { KeyReservations } from "../storage/key-reservations.js";
import type { PeerCacheWriter } from "../storage/peer-cache-writer.js";
import type { RecordWriter } from "../storage/record-writer.js";
import type { SessionSerializer } from "../storage/session-serializer.js";
import type { SessionStorage } from "../storage/storage.js";
import type { StorageTimeout } from "../storage/storage-timeout.js";
import { isTelegramAddress } from "../telegram/data-centers.js";
import { authKeyFingerprint, parseSession } from "../telegram/session-string.js";
import type { RecordDiscovery } from "./record-discovery.js";
import { reencrypt } from "./reencryption.js";
import type { SessionRemoval } from "./session-removal.js";

/** What the register of sessions needs. */
export interface SessionAdminDeps {
  readonly registry: SessionRegistry;
  readonly records: SessionSerializer;
  readonly sealing: CredentialEncryption;
  readonly ownership: Ownership;
  readonly sessionTable: SessionTable;
  readonly recordWriter: RecordWriter;
  readonly storage: SessionStorage;
  readonly deadline: StorageTimeout;
  readonly scheduler: LeaseScheduler;
  readonly connections: ConnectionPool<unknown>;
  readonly backOffs: ConnectBackoff;
  readonly sessionState: SessionStateManager;
  readonly time: PoolTime;
  readonly locks: KeyedMutex;
  readonly keys: KeyReservations;
  readonly removal: SessionRemoval;
  readonly discovery: RecordDiscovery;
  readonly peers: PeerCacheWriter;
  readonly trustServers: boolean;
  changed(id: string): void;
  failed(error: Error): void;
  /** The session has another auth key; `gone` resolves when no client has the former one any more. */
  keyReplaced(id: string, former: string, gone: Promise<void>): void;
}

/** What a session had before its key was changed, as long as the new key is not confirmed. */
interface FormerKey {
  readonly credentials: Credentials;
  readonly fingerprint: string;
}

/** Another process may remove the session that is being added, again and again: after so often this one gives up. */
const ROUNDS = 5;

/** Which sessions there are: adds, changes, switches off and on. One change per session at a time. */
export class SessionAdmin {
  readonly #parts: SessionAdminDeps;
  readonly #locks: KeyedMutex;
  readonly #keys: KeyReservations;
  readonly #removal: SessionRemoval;
  readonly #discovery: RecordDiscovery;
  /** Of sessions whose new key is not confirmed; entries go with the session. */
  readonly #former = new WeakMap<PooledSession, FormerKey>();

  constructor(parts: SessionAdminDeps) {
    this.#parts = parts;
    this.#locks = parts.locks;
    this.#keys = parts.keys;
    this.#removal = parts.removal;
    this.#discovery = parts.discovery;
  }

  async add(id: string, session: string, options: AddOptions): Promise<SessionInfo> {
    checkAddArguments(id, options);
    const fingerprint = this.#fingerprintOf(id, session);
    return this.#locks.runExclusive([`id ${id}`, `key ${fingerprint}`], async () => {
      const rejection = this.#parts.registry.rejection(id);
      if (rejection !== undefined) throw unreadableRecordError(id, rejection);
      const known = this.#parts.registry.get(id);
      if (known !== undefined) return this.#addAgain(known, fingerprint, options);
      const holder = this.#parts.registry.holderOf(fingerprint);
      if (holder !== undefined) throw duplicateKeyError(id, holder);
      return this.#create(id, session, fingerprint, options);
    });
  }

  async update(id: string, change: SessionChange): Promise<SessionInfo> {
    checkChange(change);
    const fingerprint = change.session === undefined ? undefined : this.#fingerprintOf(id, change.session);
    const names = fingerprint === undefined ? [`id ${id}`] : [`id ${id}`, `key ${fingerprint}`];
    return this.#locks.runExclusive(names, async () => {
      const known = this.#known(id);
      if (change.session !== undefined && fingerprint !== undefined) {
        await this.#changeKey(known, change.session, fingerprint);
      }
      await this.#describe(known, change);
      await this.#save(known);
      this.#parts.changed(id);
      return this.#parts.registry.info(known);
    });
  }

  async disable(id: string, reason: string): Promise<void> {
    const { sessionTable, time, scheduler, connections } = this.#parts;
    const known = this.#known(id);
    sessionTable.disable(known, reason, time.now());
    scheduler.rejectHopeless();
    if (!known.isLeased) void connections.close(id, "the session was disabled");
    await this.#save(known, "disabled");
  }

  async enable(id: string): Promise<void> {
    const { sessionTable, time, scheduler, sessionState, backOffs } = this.#parts;
    const known = this.#known(id);
    sessionState.clearFatal(id);
    sessionTable.revive(known, time.now());
    backOffs.causeEnded(known);
    scheduler.serveWaiters();
    await this.#save(known, "revived");
  }

  #known(id: string): PooledSession {
    const known = this.#parts.registry.get(id);
    if (known !== undefined && !known.isRemoving) return known;
    const rejection = this.#parts.registry.rejection(id);
    throw rejection === undefined ? unknownSessionError(id) : unreadableRecordError(id, rejection);
  }

  async #addAgain(known: PooledSession, fingerprint: string, options: AddOptions): Promise<SessionInfo> {
    const { id } = known;
    if (known.isRemoving) throw removalPendingError(id);
    if (known.fingerprint !== fingerprint) {
      throw new DuplicateSessionError(
        `add: "${id}" holds another auth key already. To give it a new session string use update("${id}", { session }).`,
        { sessionId: id },
      );
    }
    if (await this.#describe(known, options)) {
      await this.#save(known);
      this.#parts.changed(id);
    }
    return this.#parts.registry.info(known);
  }

  async #create(
    id: string,
    session: string,
    fingerprint: string,
    options: AddOptions,
    round = 0,
  ): Promise<SessionInfo> {
    const { registry, records, sealing, recordWriter, scheduler, time, peers } = this.#parts;
    const credentials = await sealing.seal(id, session, frozenProfile(options.profile));
    const holder = await this.#keys.reserve(fingerprint, id);
    if (holder !== undefined) throw duplicateKeyError(id, holder);
    const tags = Object.freeze([...(options.tags ?? [])]);
    const known = new PooledSession({ id, tags, addedAt: time.wallNow(), credentials, fingerprint });
    const version = await this.#writeFirst(id, records.serialize(known, null), fingerprint);
    if (version === undefined) return this.#adopt(id, session, fingerprint, options, round);
    // A session of this id that was removed by a process that did not live to forget its peers.
    void peers.clear(id);
    const faster = await this.#keys.confirm(fingerprint, id);
    recordWriter.track(id, version);
    if (faster !== undefined) {
      await recordWriter.delete(id);
      throw duplicateKeyError(id, faster);
    }
    registry.enter(known);
    scheduler.serveWaiters();
    return registry.info(known);
  }

  /** Where it fails the key is nobody's again, unless the record has landed all the same. */
  async #writeFirst(id: string, data: string, fingerprint: string): Promise<number | undefined> {
    const { storage, deadline, failed } = this.#parts;
    try {
      return await deadline.run(`write the record of "${id}"`, () => storage.write(id, 0, data), data);
    } catch (error) {
      await this.#keys.release(fingerprint, id).catch(failed);
      throw error;
    }
  }

  /** Another process has added the id in the meantime, and may have removed it again since. */
  async #adopt(
    id: string,
    session: string,
    fingerprint: string,
    options: AddOptions,
    round: number,
  ): Promise<SessionInfo> {
    const { storage, scheduler, deadline } = this.#parts;
    if (round === ROUNDS) {
      throw new StorageError(`Another process keeps adding and removing "${id}". Nothing was added; try again.`, {
        sessionId: id,
      });
    }
    const again = (): Promise<SessionInfo> => this.#create(id, session, fingerprint, options, round + 1);
    const stored = await deadline.run(`read the record of "${id}"`, () => storage.read(id));
    if (stored === undefined) return again();
    let known: PooledSession;
    try {
      const state = await this.#removal.finishPendingRemoval(stored);
      if (state === "leaving") throw removalPendingError(id);
      if (state === "gone") return await again();
      known = await this.#discovery.adopt(stored);
    } catch (error) {
      if (error instanceof SessionPoolError && !(error instanceof StorageCorruptError)) throw error;
      throw unreadableRecordError(id, error instanceof Error ? error.message : String(error));
    }
    scheduler.serveWaiters();
    if (known.fingerprint !== fingerprint) await this.#keys.release(fingerprint, id);
    return this.#addAgain(known, fingerprint, options);
  }

  async #changeKey(known: PooledSession, session: string, fingerprint: string): Promise<void> {
    const { registry, connections, ownership, sealing, peers, failed } = this.#parts;
    const { id } = known;
    const credentials = await sealing.seal(id, session, known.credentials.profile);
    if (known.fingerprint === fingerprint) return this.#replaceKey(known, { credentials, fingerprint });
    const holder = registry.holderOf(fingerprint) ?? (await this.#keys.reserve(fingerprint, id));
    if (holder !== undefined) throw duplicateKeyError(id, holder);
    const { gone } = connections.get(id) ?? { gone: Promise.resolve() };
    const former: FormerKey = { credentials: known.credentials, fingerprint: known.fingerprint };
    this.#former.set(known, former);
    // It may be another account's key, and an access hash is of use to one account alone.
    const forgotten = peers.clear(id);
    await this.#replaceKey(known, { credentials, fingerprint });
    await forgotten;
    // What is late is confirmed before a client connects: see settleKey.
    const isWritten = await this.#save(known, "resurrected");
    const faster = isWritten ? await this.settleKey(known).catch(failed) : undefined;
    if (faster !== undefined) throw duplicateKeyError(id, faster);
    // While a client is connected with it, the former key stays taken: of another process's client nobody here knows.
    if (!ownership.isForeign(id)) this.#parts.keyReplaced(id, former.fingerprint, gone);
  }

  /**
   * Makes a new key the session's for good; to be awaited, with the record on disk, before a client connects. Resolves the
   * id that was faster: then the session has its former key again.
   */
  async settleKey(known: PooledSession): Promise<string | undefined> {
    const former = this.#former.get(known);
    if (former === undefined) return undefined;
    const faster = await this.#keys.confirm(known.fingerprint, known.id);
    if (this.#former.get(known) !== former) return undefined;
    this.#former.delete(known);
    if (faster === undefined) return undefined;
    await this.#replaceKey(known, former);
    await this.#save(known);
    return faster;
  }

  /** The next lease gets a client with this key. */
  async #replaceKey(known: PooledSession, { credentials, fingerprint }: FormerKey): Promise<void> {
    this.#parts.registry.replaceCredentials(known, credentials, fingerprint);
    markDirty(known, "credentials");
    const outdated = this.#outdate(known, true);
    this.#resurrect(known);
    await outdated;
  }

  /** A new session string makes a dead session free. */
  #resurrect(known: PooledSession): void {
    if (known.deadReason === null && !isOfKey(known.restriction?.reason)) return;
    markDirty(known, "resurrected");
    this.#parts.sessionState.keyReplaced(known);
  }

  /** Writes what a person has changed: until it is on disk it wins over what another process wrote. Whether it is. */
  async #save(known: PooledSession, ...changes: readonly LocalChange[]): Promise<boolean> {
    markDirty(known, ...changes);
    return this.#parts.recordWriter.save(known.id);
  }

  /** Tags and profile, when given, replace what was there. Whether that has changed anything, which is to be written then. */
  async #describe(known: PooledSession, { tags, profile }: AddOptions): Promise<boolean> {
    const hasProfile = profile !== undefined && !isDeepStrictEqual(known.credentials.profile, profile);
    const hasTags = tags !== undefined && !isDeepStrictEqual(known.tags, tags);
    const former = known.credentials.profile;
    // What may fail comes first: nothing has changed then.
    if (hasProfile) await reencrypt(this.#parts.sealing, known, frozenProfile(profile));
    if (hasTags) {
      this.#parts.registry.setTags(known, tags);
      markDirty(known, "tags");
      this.#parts.scheduler.rejectHopeless();
    }
    if (hasProfile) await this.#outdate(known, !isDeepStrictEqual(former.proxy, profile.proxy), former);
    return hasProfile || hasTags;
  }

  /** The next lease gets a new client; one that runs may end with the old one. */
  async #outdate(known: PooledSession, hasOtherCause: boolean, former = known.credentials.profile): Promise<void> {
    const { connections, backOffs } = this.#parts;
    connections.get(known.id)?.markStale("the session was changed");
    if (hasOtherCause) backOffs.causeEnded(known, former);
    if (!known.isLeased) await connections.close(known.id, "the session was changed");
  }

  #fingerprintOf(id: string, session: string): string {
    try {
      const parsed = parseSession(session);
      if (!this.#parts.trustServers && !isTelegramAddress(parsed.serverAddress)) {
        throw new InvalidSessionError(
          "The session names a server outside Telegram's published ranges: whoever runs it would get the account. If it is yours (a test server), open the pool with trustServers: true.",
        );
      }
      return authKeyFingerprint(parsed.authKey);
    } catch (error) {
      if (!(error instanceof InvalidSessionError)) throw error;
      throw new InvalidSessionError(`"${id}": ${error.message}`, { sessionId: id });
    }
  }
}

function frozenProfile(profile: ClientProfile | undefined): ClientProfile {
  return profile === undefined ? NO_PROFILE : Object.freeze(structuredClone(profile));
}
