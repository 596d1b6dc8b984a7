import { isDeepStrictEqual } from "node:util";
import type { ConnectBackoff } from "../connections/connect-backoff.js";
import type { ConnectionPool } from "../connections/connection-pool.js";
import { NO_PROFILE } from "../encryption/credentials.js";
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
import type { ResolvedProfile } from "../options/client-profile.js";
import type { AddOptions, SessionChange } from "../options/options.js";
import { checkAddArguments, checkChange, type SessionDescription } from "../options/validate.js";
import type { PoolContext } from "../pool-context.js";
import type { SessionInfo } from "../session-info.js";
import type { AccountFacts } from "../state/account-facts.js";
import { type LocalChange, markDirty, PooledSession } from "../state/pooled-session.js";
import type { LearnedFacts } from "../state/session-entry.js";
import type { SessionRegistry } from "../state/session-registry.js";
import type { SessionStateManager } from "../state/session-state-manager.js";
import type { PeerCacheWriter } from "../storage/peer-cache-writer.js";
import type { RecordWriter } from "../storage/record-writer.js";
import type { StoredPeer } from "../storage/storage.js";
import { isTelegramAddress } from "../telegram/data-centers.js";
import { authKeyFingerprint, parseSession } from "../telegram/session-string.js";
import { reencrypt } from "./reencryption.js";
import type { RemoteRecords } from "./remote-records.js";
import type { SessionKeys } from "./session-keys.js";
import type { SessionParts } from "./session-parts.js";
import type { SessionRemoval } from "./session-removal.js";

/** Maximum number of times an addition starts over because another process has removed the session meanwhile. */
const ROUNDS = 5;

/** Result of `add`. */
interface Addition {
  readonly info: SessionInfo;
  /** Whether the session was not in the pool before. */
  readonly isNew: boolean;
}

/** What the caller of `add` knows of the session besides its description. */
export interface KnownOfSession {
  /** Seed the peer cache of a session that is new. */
  readonly peers?: readonly StoredPeer[] | undefined;
  readonly accountId?: string | undefined;
  readonly isBot?: boolean | undefined;
}

/** What a session string says of its session. */
interface SessionIdentity {
  readonly fingerprint: string;
  readonly facts: LearnedFacts;
}

type CreateOptions = SessionDescription & SessionIdentity & Pick<KnownOfSession, "peers">;

/** Adds, changes, disables and enables sessions. One change per session at a time. */
export class SessionAdmin {
  readonly #context: PoolContext;
  readonly #registry: SessionRegistry;
  readonly #sessionState: SessionStateManager;
  readonly #facts: AccountFacts;
  readonly #recordWriter: RecordWriter;
  readonly #peers: PeerCacheWriter;
  readonly #connections: ConnectionPool<unknown>;
  readonly #backOffs: ConnectBackoff;
  readonly #keys: SessionKeys;
  readonly #removal: SessionRemoval;
  readonly #remoteRecords: RemoteRecords;

  constructor(
    context: PoolContext,
    parts: SessionParts,
    keys: SessionKeys,
    removal: SessionRemoval,
    remoteRecords: RemoteRecords,
  ) {
    this.#context = context;
    this.#registry = parts.registry;
    this.#sessionState = parts.sessionState;
    this.#facts = parts.facts;
    this.#recordWriter = parts.recordWriter;
    this.#peers = parts.peers;
    this.#connections = parts.connections;
    this.#backOffs = parts.backOffs;
    this.#keys = keys;
    this.#removal = removal;
    this.#remoteRecords = remoteRecords;
  }

  async add(id: string, session: string, options: AddOptions, given: KnownOfSession = {}): Promise<Addition> {
    const description = checkAddArguments(id, options);
    this.#checkClient("add", description);
    const { fingerprint, facts: own } = this.#identityOf(id, session);
    const { peers, accountId = own.accountId, isBot = own.isBot } = given;
    const facts = { accountId, isBot };
    return this.#registry.change(id, fingerprint, async () => {
      const rejection = this.#registry.rejection(id);
      if (rejection !== undefined) throw unreadableRecordError(id, rejection);
      const known = this.#registry.get(id);
      if (known !== undefined) return this.#addAgain(known, { ...description, fingerprint, facts });
      const holder = this.#registry.holderOf(fingerprint);
      if (holder !== undefined) throw duplicateKeyError(id, holder, this.#registry.get(holder)?.isRemoving);
      return this.#create(id, session, { ...description, fingerprint, facts, peers });
    });
  }

  async update(id: string, change: SessionChange): Promise<SessionInfo> {
    const description = checkChange(change);
    this.#checkClient("update", description);
    const identity = change.session === undefined ? undefined : this.#identityOf(id, change.session);
    return this.#registry.change(id, identity?.fingerprint, async () => {
      const known = this.#known(id);
      if (change.session !== undefined && identity !== undefined) {
        await this.#keys.change(known, change.session, identity.fingerprint);
        this.#facts.learn(known, identity.facts);
      }
      await this.#describe(known, description);
      await this.#save(known);
      this.#context.events.publish("sessionChanged", { id });
      return this.#registry.info(known);
    });
  }

  async disable(id: string, reason: string): Promise<void> {
    const known = this.#known(id);
    this.#sessionState.disable(known, reason);
    if (!known.isLeased) void this.#connections.close(id, "the session was disabled");
    await this.#save(known, "disabled");
  }

  async enable(id: string): Promise<void> {
    const known = this.#known(id);
    this.#sessionState.revive(known);
    this.#backOffs.causeEnded(known);
    this.#context.events.emit("available");
    await this.#save(known, "revived");
  }

  /** Throws `OptionsError` for a profile with which the client adapter could not connect. */
  #checkClient(call: string, { profile }: SessionDescription): void {
    if (profile !== undefined) this.#context.options.client.checkProfile?.(call, profile);
  }

  #known(id: string): PooledSession {
    const known = this.#registry.get(id);
    if (known !== undefined && !known.isRemoving) return known;
    const rejection = this.#registry.rejection(id);
    throw rejection === undefined ? unknownSessionError(id) : unreadableRecordError(id, rejection);
  }

  async #addAgain(
    known: PooledSession,
    { fingerprint, facts, tags, profile }: SessionDescription & SessionIdentity,
  ): Promise<Addition> {
    const { id } = known;
    if (known.isRemoving) throw removalPendingError(id);
    if (known.fingerprint !== fingerprint) {
      throw new DuplicateSessionError(
        `add: "${id}" already has another auth key. To give it a new session string use update("${id}", { session }).`,
        { sessionId: id },
      );
    }
    if (known.accountId === null) this.#facts.learn(known, facts);
    if (await this.#describe(known, { tags, profile })) {
      await this.#save(known);
      this.#context.events.publish("sessionChanged", { id });
    }
    return { info: this.#registry.info(known), isNew: false };
  }

  async #create(id: string, session: string, options: CreateOptions, round = 0): Promise<Addition> {
    const { reservations } = this.#keys;
    const { time } = this.#context;
    const { fingerprint } = options;
    const credentials = await this.#registry.serializer.encryption.seal(id, session, frozenProfile(options.profile));
    const { holder, version: reserved } = await reservations.reserve(fingerprint, id);
    if (holder !== undefined) throw duplicateKeyError(id, holder);
    const tags = Object.freeze([...(options.tags ?? [])]);
    const known = new PooledSession({ id, tags, addedAt: time.wallNow(), credentials, fingerprint });
    known.setFacts(options.facts);
    const version = await this.#writeFirst(id, this.#registry.serializer.serialize(known, null), fingerprint);
    if (version === undefined) return this.#adopt(id, session, options, round);
    // A process may have died after removing a session of this id and before clearing its peers.
    void this.#peers.clear(id);
    const faster = await reservations.confirm(fingerprint, id, reserved).catch(async (error: unknown) => {
      await this.#takeBack(id, version, fingerprint);
      throw error;
    });
    this.#recordWriter.track(id, version);
    if (faster !== undefined) {
      await this.#recordWriter.delete(id);
      throw duplicateKeyError(id, faster);
    }
    const seeded = options.peers && this.#peers.seed(id, options.peers);
    this.#registry.enter(known);
    this.#facts.joinAccount(known);
    await seeded;
    return { info: this.#registry.info(known), isNew: true };
  }

  /** If the write fails the key is released, unless the record has been written nevertheless. */
  async #writeFirst(id: string, data: string, fingerprint: string): Promise<number | undefined> {
    try {
      return await this.#recordWriter.create(id, data);
    } catch (error) {
      await this.#keys.reservations
        .release(fingerprint, id)
        .catch((failure: Error) => this.#context.events.emit("storageFailed", failure));
      throw error;
    }
  }

  /** Deletes the first version of a record whose key could not be confirmed: what is refused is not stored. Never rejects. */
  async #takeBack(id: string, version: number, fingerprint: string): Promise<void> {
    try {
      const isGone = await this.#recordWriter.deleteUntracked({ id, version });
      if (isGone) await this.#keys.reservations.release(fingerprint, id);
    } catch (error) {
      if (error instanceof StorageError) this.#context.events.emit("storageFailed", error);
    }
  }

  /** Another process has added the id meanwhile, and may have removed it again. */
  async #adopt(id: string, session: string, options: CreateOptions, round: number): Promise<Addition> {
    const { fingerprint } = options;
    if (round === ROUNDS) {
      throw new StorageError(`Another process keeps adding and removing "${id}". Nothing was added; try again.`, {
        sessionId: id,
      });
    }
    const again = (): Promise<Addition> => this.#create(id, session, options, round + 1);
    const stored = await this.#recordWriter.read(id);
    if (stored === undefined) return again();
    let known: PooledSession;
    try {
      const state = await this.#removal.finishPendingRemoval(stored);
      if (state === "leaving") throw removalPendingError(id);
      if (state === "gone") return await again();
      known = await this.#remoteRecords.adopt(stored);
    } catch (error) {
      if (error instanceof SessionPoolError && !(error instanceof StorageCorruptError)) throw error;
      throw unreadableRecordError(id, error instanceof Error ? error.message : String(error));
    }
    this.#context.events.emit("available");
    if (known.fingerprint !== fingerprint) await this.#keys.reservations.release(fingerprint, id);
    return this.#addAgain(known, options);
  }

  /** Writes what the user has changed: it wins over the writes of other processes until it is on disk. Resolves with whether it is. */
  async #save(known: PooledSession, ...changes: readonly LocalChange[]): Promise<boolean> {
    markDirty(known, ...changes);
    return this.#recordWriter.save(known.id);
  }

  /** Tags and profile, when given, replace the previous ones. Returns whether anything has changed. */
  async #describe(known: PooledSession, { tags, profile }: SessionDescription): Promise<boolean> {
    const hasProfile = profile !== undefined && !isDeepStrictEqual(known.credentials.profile, profile);
    const hasTags = tags !== undefined && !isDeepStrictEqual(known.tags, tags);
    const former = known.credentials.profile;
    // Steps that may fail come first, before anything has changed.
    if (hasProfile) await reencrypt(this.#registry.serializer.encryption, known, frozenProfile(profile));
    if (hasTags) {
      this.#registry.setTags(known, tags);
      markDirty(known, "tags");
      this.#context.events.emit("availabilityChanged");
    }
    if (hasProfile) await this.#keys.outdateClient(known, !isDeepStrictEqual(former.proxy, profile.proxy), former);
    return hasProfile || hasTags;
  }

  #identityOf(id: string, session: string): SessionIdentity {
    try {
      const parsed = parseSession(session);
      if (!this.#context.options.trustServers && !isTelegramAddress(parsed.serverAddress)) {
        throw new InvalidSessionError(
          "The session names a server outside Telegram's published ranges, whose operator would gain access to the account. If it is yours (a test server), open the pool with trustServers: true.",
        );
      }
      const { userId, isBot } = parsed;
      // Formats that require a user id have 0 where it is not known.
      const facts = userId === undefined || userId === 0 ? {} : { accountId: String(userId), isBot };
      return { fingerprint: authKeyFingerprint(parsed.authKey), facts };
    } catch (error) {
      if (!(error instanceof InvalidSessionError)) throw error;
      throw new InvalidSessionError(`"${id}": ${error.message}`, { sessionId: id });
    }
  }
}

function frozenProfile(profile: ResolvedProfile | undefined): ResolvedProfile {
  return profile === undefined ? NO_PROFILE : Object.freeze(structuredClone(profile));
}
