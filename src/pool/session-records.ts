import type { CooldownScope } from "../cooldown-scope.js";
import type { Claim } from "../records/claim.js";
import type { RecordDraft } from "../records/ledger.js";
import type { ClaimDraft } from "../records/ownership.js";
import { decodeRecord, encodeRecord, type SessionRecord } from "../records/record.js";
import { Secret } from "../records/secret.js";
import type { StoredRecord } from "../records/storage.js";
import { type Restriction, RosterEntry } from "../roster/roster-entry.js";
import { parseSession } from "../telegram/session-string.js";
import type { KnownSession } from "./known-session.js";
import type { TimeLine } from "./time-line.js";

/** A cooldown on the pool's time line. */
export interface RecordedCooldown {
  readonly scope: CooldownScope;
  readonly until: number;
  readonly reason: string;
}

/** A session as its record has it, and the pool that may connect it. */
export interface RevivedSession {
  readonly known: KnownSession;
  readonly owner: Claim | null;
}

/** The translation between sessions and their records. What cannot be read throws, and nothing of it is repeated. */
export class SessionRecords {
  readonly #time: TimeLine;

  constructor(time: TimeLine) {
    this.#time = time;
  }

  /** The session of a record. */
  revive(stored: StoredRecord): RevivedSession {
    const record = decodeRecord(stored.data);
    const secret = this.secretOf(record);
    const entry = new RosterEntry(stored.id, Object.freeze([...record.tags]), record.addedAt);
    entry.lastUsedAt = record.lastUsedAt;
    entry.deadReason = record.deadReason;
    entry.disabledReason = record.disabledReason;
    entry.restriction = this.restrictionOf(record);
    for (const { scope, until, reason } of this.cooldownsOf(record)) entry.cooldowns.extend(scope, until, reason);
    const { fingerprint, profile, isRemoved, owner } = record;
    return {
      known: { entry, secret, stored: secret, fingerprint, profile, isRemoved, changing: new Map() },
      owner,
    };
  }

  /** The record of a session as it is now. */
  encode(known: KnownSession, owner: Claim | null): string {
    const { entry } = known;
    const { cooldowns, restriction } = entry;
    const { methods, peers } = cooldowns.entries(this.#time.now());
    const isCooling = cooldowns.sessionUntil > this.#time.now();
    return encodeRecord({
      session: known.stored.reveal(),
      fingerprint: known.fingerprint,
      tags: entry.tags,
      profile: known.profile,
      addedAt: entry.addedAt,
      lastUsedAt: entry.lastUsedAt,
      cooldown: isCooling ? { until: this.#time.toWall(cooldowns.sessionUntil), reason: cooldowns.reason ?? "" } : null,
      methods: this.#toWall(methods),
      peers: this.#toWall(peers),
      restriction: restriction && {
        reason: restriction.reason,
        until: restriction.until === null ? null : this.#time.toWall(restriction.until),
      },
      deadReason: entry.deadReason,
      disabledReason: entry.disabledReason,
      owner,
      isRemoved: known.isRemoved,
    });
  }

  /** The record with a claim. Once it is on disk, what was changed until now may be changed by others again. */
  draft(known: KnownSession, { claim, landed }: ClaimDraft): RecordDraft {
    const changes = [...known.changing];
    return {
      data: this.encode(known, claim),
      landed: () => {
        for (const [part, count] of changes) if (known.changing.get(part) === count) known.changing.delete(part);
        landed();
      },
    };
  }

  secretOf(record: SessionRecord): Secret {
    parseSession(record.session);
    return new Secret(record.session);
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

  #toWall(instants: readonly [string, number][]): Record<string, number> {
    return Object.fromEntries(instants.map(([key, until]) => [key, this.#time.toWall(until)]));
  }
}
