import type { PoolTime } from "../common/pool-time.js";
import type { CredentialEncryption, Credentials } from "../encryption/credentials.js";
import type { Claim, ClaimDraft } from "../ownership/ownership.js";
import type { CooldownScope } from "../state/cooldowns.js";
import { markClean, PooledSession } from "../state/pooled-session.js";
import type { Restriction } from "../state/session-entry.js";
import { decodeRecord, encodeRecord, type SessionRecord } from "./record.js";
import type { RecordDraft } from "./record-writer.js";
import type { StoredRecord } from "./storage.js";

/** A cooldown on the pool's time line. */
export interface RecordedCooldown {
  readonly scope: CooldownScope;
  readonly until: number;
  readonly reason: string;
}

/** A session read from its record, and the claim of the pool that owns it. */
export interface LoadedSession {
  readonly known: PooledSession;
  readonly version: number;
  readonly owner: Claim | null;
}

const NO_TAGS: readonly string[] = Object.freeze([]);

/** Converts between sessions and their records. Errors about unreadable records do not quote them. */
export class SessionSerializer {
  readonly #time: PoolTime;
  readonly encryption: CredentialEncryption;

  constructor(time: PoolTime, encryption: CredentialEncryption) {
    this.#time = time;
    this.encryption = encryption;
  }

  /** Returns the session of a record. Sessions read with the same `lists` share equal lists of tags. */
  deserialize(
    stored: StoredRecord,
    lists: Map<string, readonly string[]> = new Map(),
  ): LoadedSession | Promise<LoadedSession> {
    const record = decodeRecord(stored.data);
    const credentials = this.encryption.open(stored.id, record);
    if (!(credentials instanceof Promise)) return this.#deserialize(stored, record, credentials, lists);
    return credentials.then((opened) => this.#deserialize(stored, record, opened, lists));
  }

  /** Returns the record of the current state of a session. */
  serialize(known: PooledSession, owner: Claim | null): string {
    const { cooldowns, restriction } = known;
    const { methods, peers } = cooldowns.entries(this.#time.now());
    const isCooling = cooldowns.sessionUntil > this.#time.now();
    return encodeRecord({
      ...known.credentials.stored,
      fingerprint: known.fingerprint,
      tags: known.tags,
      addedAt: known.addedAt,
      lastUsedAt: known.lastUsedAt,
      cooldown: isCooling ? { until: this.#time.toWall(cooldowns.sessionUntil), reason: cooldowns.reason ?? "" } : null,
      methods: this.#toWall(methods),
      peers: this.#toWall(peers),
      restriction: restriction && {
        reason: restriction.reason,
        until: restriction.until === null ? null : this.#time.toWall(restriction.until),
      },
      deadReason: known.deadReason,
      disabledReason: known.disabledReason,
      owner,
      isRemoved: known.isRemoved,
      accountId: known.accountId,
      isBot: known.isBot,
      expiresAt: known.expiresAt,
      authorizationTtlDays: known.authorizationTtlDays,
    });
  }

  /** Returns the record with a claim, ready to be written. */
  toDraft(known: PooledSession, { claim, landed }: ClaimDraft): RecordDraft {
    const { pendingChanges: changing } = known;
    return {
      data: this.serialize(known, claim),
      onWritten: () => {
        markClean(known, changing);
        landed();
      },
    };
  }

  restrictionOf({ restriction }: SessionRecord): Restriction | null {
    if (restriction === null) return null;
    const { reason, until } = restriction;
    return { reason, until: until === null ? null : this.#time.fromWall(until) };
  }

  *cooldownsOf(record: SessionRecord): Generator<RecordedCooldown> {
    const { cooldown } = record;
    if (cooldown !== null) {
      yield { scope: { kind: "session" }, until: this.#time.fromWall(cooldown.until), reason: cooldown.reason };
    }
    for (const [method, until] of Object.entries(record.methods)) {
      yield { scope: { kind: "method", method }, until: this.#time.fromWall(until), reason: "" };
    }
    for (const [peer, until] of Object.entries(record.peers)) {
      yield { scope: { kind: "peer", peer }, until: this.#time.fromWall(until), reason: "" };
    }
  }

  #deserialize(
    { id, version }: StoredRecord,
    record: SessionRecord,
    credentials: Credentials,
    lists: Map<string, readonly string[]>,
  ): LoadedSession {
    const { addedAt, fingerprint, deadReason, disabledReason } = record;
    const known = new PooledSession({ id, tags: internTags(record.tags, lists), addedAt, credentials, fingerprint });
    known.lastUsedAt = record.lastUsedAt;
    known.setBlockers({ deadReason, disabledReason, restriction: this.restrictionOf(record) });
    known.isRemoved = record.isRemoved;
    known.setFacts(record);
    for (const { scope, until, reason } of this.cooldownsOf(record)) known.coolDown(scope, until, reason);
    return { known, version, owner: record.owner };
  }

  #toWall(instants: readonly [string, number][]): Record<string, number> {
    return Object.fromEntries(instants.map(([key, until]) => [key, this.#time.toWall(until)]));
  }
}

/** Shares equal lists of tags: many sessions have the same few tags. */
function internTags(tags: readonly string[], lists: Map<string, readonly string[]>): readonly string[] {
  const [tag] = tags;
  if (tag === undefined) return NO_TAGS;
  if (tags.length > 1) return Object.freeze([...tags]);
  const list = lists.get(tag) ?? Object.freeze([tag]);
  lists.set(tag, list);
  return list;
}
