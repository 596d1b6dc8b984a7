import { isDeepStrictEqual } from "node:util";
import type { Connections } from "../../connections/connections.js";
import type { Ownership } from "../../records/ownership/ownership.js";
import type { PeerJournal } from "../../records/peers/peer-journal.js";
import { decodeRecord, type SessionRecord } from "../../records/record.js";
import type { StoredRecord } from "../../records/storage.js";
import type { BackOffs } from "../back-offs.js";
import type { Dispatcher } from "../dispatcher.js";
import type { Keeper } from "../keeper.js";
import type { Marks } from "../marks.js";
import { rejected as unreadable } from "../refusals.js";
import type { CredentialSealing, Credentials, StoredCredentials } from "./credentials.js";
import type { KnownSession } from "./known-session.js";
import type { SessionBook } from "./session-book.js";
import type { SessionRecords } from "./session-records.js";

/** What merging needs. */
export interface MergingParts {
  readonly book: SessionBook;
  readonly records: SessionRecords;
  readonly sealing: CredentialSealing;
  readonly ownership: Ownership;
  readonly marks: Marks;
  readonly dispatcher: Dispatcher;
  readonly connections: Connections<unknown>;
  readonly peers: PeerJournal;
  readonly backOffs: BackOffs;
  readonly keeper: Pick<Keeper, "look">;
  /** The session has another key, other tags or another profile. */
  changed(id: string): void;
  /** The session has another auth key; `gone` resolves when no client of this process has the former one any more. */
  keyReplaced(id: string, former: string, gone: Promise<void>): void;
  /** The record says that the session is removed. */
  removed(id: string): void;
  /** The record cannot be read any more. */
  rejected(id: string, reason: string): void;
}

/**
 * Takes in what another process has written of a session. What this process has changed and not written yet wins; of
 * everything else the record is the truth, but a cooldown only ever moves later.
 */
export class Merging {
  readonly #parts: MergingParts;
  /** Of sessions whose record could not be read: which version of it. */
  readonly #refused = new WeakMap<KnownSession, number>();

  constructor(parts: MergingParts) {
    this.#parts = parts;
  }

  /** Throws as reading the record does; nothing has changed then. */
  merge(stored: StoredRecord): void | Promise<void> {
    const { book, sealing } = this.#parts;
    const known = book.get(stored.id);
    if (known === undefined) return;
    const record = this.#readable(known, stored, () => decodeRecord(stored.data));
    if (known.changing.has("credentials") || isDeepStrictEqual(known.credentials.stored, credentialsIn(record))) {
      return this.#apply(known, record, known.credentials);
    }
    const opened = this.#readable(known, stored, () => sealing.open(stored.id, record));
    if (!(opened instanceof Promise)) return this.#apply(known, record, opened);
    const unreadable = (error: unknown): never => this.#refuse(known, stored, error);
    return opened.catch(unreadable).then((credentials) => {
      if (book.get(stored.id) !== known) return;
      // They may have been changed here while the record's were opened.
      this.#apply(known, record, known.changing.has("credentials") ? known.credentials : credentials);
    });
  }

  /** What another writer has left damaged is told once, and stands until somebody repairs it: it is never written over. */
  #refuse(known: KnownSession, { version }: StoredRecord, error: unknown): never {
    const reason = error instanceof Error ? error.message : "it could not be opened";
    if (this.#refused.get(known) !== version) this.#parts.rejected(known.id, reason);
    this.#refused.set(known, version);
    throw unreadable(known.id, reason);
  }

  #readable<T>(known: KnownSession, stored: StoredRecord, read: () => T): T {
    try {
      return read();
    } catch (error) {
      return this.#refuse(known, stored, error);
    }
  }

  #apply(known: KnownSession, record: SessionRecord, credentials: Credentials): void {
    const { book, records, ownership, marks, dispatcher } = this.#parts;
    const hasCredentials = this.#takeCredentials(known, credentials, record.fingerprint);
    const hasTags = !known.changing.has("tags") && !isDeepStrictEqual(record.tags, known.tags);
    if (hasTags) book.retag(known, record.tags);
    for (const cooldown of records.cooldownsOf(record)) marks.learnCooldown(known, cooldown);
    const { deadReason, disabledReason } = record;
    marks.learnLife(known, { deadReason, disabledReason, restriction: records.restrictionOf(record) });
    known.lastUsedAt = latest(known.lastUsedAt, record.lastUsedAt);
    ownership.observe(known.id, record.owner);
    if (record.isRemoved && !known.isRemoved) {
      known.isRemoved = true;
      this.#parts.removed(known.id);
    }
    dispatcher.worsened();
    // After the queue was served: a listener that asks for a session comes behind the callers who wait.
    if (hasCredentials || hasTags) this.#parts.changed(known.id);
    if (known.disabledReason !== null) this.#closeUnlessLeased(known, "the session was disabled");
    this.#parts.keeper.look(known.id);
  }

  /** Whether the client has to be another one now: the same ones may only have been sealed again. */
  #takeCredentials(known: KnownSession, credentials: Credentials, fingerprint: string): boolean {
    const { book, connections, peers } = this.#parts;
    const former = known.credentials;
    if (former === credentials) return false;
    const { id } = known;
    const hasOtherKey = fingerprint !== known.fingerprint;
    if (hasOtherKey) {
      void peers.clear(id);
      this.#parts.keyReplaced(id, known.fingerprint, connections.get(id)?.gone ?? Promise.resolve());
    }
    book.replaceCredentials(known, credentials, fingerprint);
    const isSame = former.reveal() === credentials.reveal() && isDeepStrictEqual(former.profile, credentials.profile);
    if (isSame) return false;
    connections.get(id)?.spoil("the session was changed");
    if (hasOtherKey) this.#parts.marks.keyReplaced(known);
    if (hasOtherKey || !isDeepStrictEqual(former.profile.proxy, credentials.profile.proxy)) {
      this.#parts.backOffs.causeEnded(known, former.profile);
    }
    this.#closeUnlessLeased(known, "the session was changed");
    return true;
  }

  #closeUnlessLeased(known: KnownSession, reason: string): void {
    if (!known.isLeased) void this.#parts.connections.close(known.id, reason);
  }
}

function credentialsIn({ session, profile }: SessionRecord): StoredCredentials {
  return { session, profile };
}

function latest(one: number | null, other: number | null): number | null {
  return one === null || other === null ? (one ?? other) : Math.max(one, other);
}
