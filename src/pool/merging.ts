import { isDeepStrictEqual } from "node:util";
import type { Connections } from "../connections/connections.js";
import type { Ownership } from "../records/ownership.js";
import type { PeerJournal } from "../records/peer-journal.js";
import { decodeRecord, type SessionRecord } from "../records/record.js";
import type { StoredRecord } from "../records/storage.js";
import type { Dispatcher } from "./dispatcher.js";
import type { KnownSession } from "./known-session.js";
import type { Marks } from "./marks.js";
import type { SessionBook } from "./session-book.js";
import type { SessionRecords } from "./session-records.js";

/** What merging needs. */
export interface MergingParts {
  readonly book: SessionBook;
  readonly records: SessionRecords;
  readonly ownership: Ownership;
  readonly marks: Marks;
  readonly dispatcher: Dispatcher;
  readonly connections: Connections<unknown>;
  readonly peers: PeerJournal;
  /** The session has another key, other tags or another profile. */
  changed(id: string): void;
  /** The record says that the session is removed. */
  removed(id: string): void;
}

/**
 * Takes in what another process has written of a session. What this process has changed and not written yet wins; of
 * everything else the record is the truth, but a cooldown only ever moves later.
 */
export class Merging {
  readonly #parts: MergingParts;

  constructor(parts: MergingParts) {
    this.#parts = parts;
  }

  /** Throws as reading the record does; nothing has changed then. */
  merge(stored: StoredRecord): void {
    const { book, records, ownership, marks, dispatcher } = this.#parts;
    const known = book.get(stored.id);
    if (known === undefined) return;
    const record = decodeRecord(stored.data);
    const isChanged = this.#describe(known, record);
    for (const cooldown of records.cooldownsOf(record)) marks.learnCooldown(known.entry, cooldown);
    const { deadReason, disabledReason } = record;
    marks.learnLife(known, { deadReason, disabledReason, restriction: records.restrictionOf(record) });
    known.entry.lastUsedAt = latest(known.entry.lastUsedAt, record.lastUsedAt);
    ownership.observe(stored.id, record.owner);
    if (record.isRemoved && !known.isRemoved) {
      known.isRemoved = true;
      this.#parts.removed(stored.id);
    }
    if (isChanged) this.#parts.changed(stored.id);
    dispatcher.worsened();
    if (known.entry.disabledReason !== null) this.#closeUnlessLeased(known, "the session was disabled");
  }

  /** Whether the key, the tags or the profile are other ones now. */
  #describe(known: KnownSession, record: SessionRecord): boolean {
    const { book, records, connections, peers } = this.#parts;
    const { entry, changing } = known;
    const hasKey = !changing.has("key") && record.session !== known.stored.reveal();
    const hasProfile = !changing.has("profile") && !isDeepStrictEqual(record.profile, known.profile);
    const hasTags = !changing.has("tags") && !isDeepStrictEqual(record.tags, entry.tags);
    if (hasKey) {
      if (record.fingerprint !== known.fingerprint) void peers.clear(entry.id);
      const secret = records.secretOf(record);
      book.replaceKey(known, secret, secret, record.fingerprint);
    }
    if (hasProfile) known.profile = record.profile;
    if (hasTags) entry.tags = Object.freeze([...record.tags]);
    if (hasKey || hasProfile) {
      connections.get(entry.id)?.spoil("the session was changed");
      this.#closeUnlessLeased(known, "the session was changed");
    }
    return hasKey || hasProfile || hasTags;
  }

  #closeUnlessLeased({ entry }: KnownSession, reason: string): void {
    if (!entry.isLeased) void this.#parts.connections.close(entry.id, reason);
  }
}

function latest(one: number | null, other: number | null): number | null {
  return one === null || other === null ? (one ?? other) : Math.max(one, other);
}
