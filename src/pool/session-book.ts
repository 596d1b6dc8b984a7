import type { ClientProfile } from "../client-profile.js";
import type { CooldownScope } from "../cooldown-scope.js";
import { decodeRecord, encodeRecord, type SessionRecord } from "../records/record.js";
import { Secret } from "../records/secret.js";
import type { StoredRecord } from "../records/storage.js";
import type { Roster } from "../roster/roster.js";
import { type Restriction, RosterEntry } from "../roster/roster-entry.js";
import type { SessionInfo } from "../session-info.js";
import { checkSession } from "../telegram/session-string.js";
import type { TimeLine } from "./time-line.js";

/** One session of the pool: its place in the roster and what is not the roster's business. */
export interface KnownSession {
  readonly entry: RosterEntry;
  secret: Secret;
  fingerprint: string;
  profile: ClientProfile;
  /** What this process has changed and not written yet: it wins over what another process wrote meanwhile. */
  changing: ReadonlyMap<OwnChange, number>;
}

/** What a person changes of a session, as against what Telegram says of it. `"life"`: dead, disabled, restricted. */
export type OwnChange = "tags" | "profile" | "life";

/** Of all sessions of which nothing is to be written. */
export const UNCHANGED: ReadonlyMap<OwnChange, number> = new Map();

const NO_TAGS: readonly string[] = Object.freeze([]);
/** Of all sessions that were given none. */
export const NO_PROFILE: ClientProfile = Object.freeze({});

/** What a session begins with. */
export interface NewSession {
  readonly id: string;
  readonly session: string;
  readonly fingerprint: string;
  readonly tags: readonly string[];
  readonly profile: ClientProfile;
}

/** The sessions of one pool, by id and by auth key, and their translation to and from records. No I/O. */
export class SessionBook {
  readonly #roster: Roster;
  readonly #time: TimeLine;
  readonly #sessions = new Map<string, KnownSession>();
  readonly #idsByKey = new Map<string, string>();
  readonly #rejected = new Map<string, string>();

  constructor(roster: Roster, time: TimeLine) {
    this.#roster = roster;
    this.#time = time;
  }

  get(id: string): KnownSession | undefined {
    return this.#sessions.get(id);
  }

  infos(): readonly SessionInfo[] {
    return Array.from(this.#sessions.values(), (known) => this.info(known));
  }

  /** The id that holds an auth key. */
  holderOf(fingerprint: string): string | undefined {
    return this.#idsByKey.get(fingerprint);
  }

  /** Why a record was set aside. */
  rejection(id: string): string | undefined {
    return this.#rejected.get(id);
  }

  rejected(): readonly { readonly id: string; readonly reason: string }[] {
    return [...this.#rejected].map(([id, reason]) => ({ id, reason }));
  }

  forgetRejected(id: string): void {
    this.#rejected.delete(id);
  }

  /** Takes in what the storage holds; what cannot be read is set aside. Returns the ids that were loaded. */
  load(records: readonly StoredRecord[]): readonly StoredRecord[] {
    const lists = new Map<string, readonly string[]>();
    const loaded: StoredRecord[] = [];
    const sessions: KnownSession[] = [];
    for (const stored of records) {
      try {
        sessions.push(this.#revive(stored, lists));
        loaded.push(stored);
      } catch (error) {
        this.#rejected.set(stored.id, error instanceof Error ? error.message : String(error));
      }
    }
    this.#roster.orderByLastUse(sessions.map(({ entry }) => entry));
    const now = this.#time.now();
    for (const known of sessions) this.#enter(known, now);
    return loaded;
  }

  /** A new session, in no roster yet. */
  create(session: NewSession): KnownSession {
    return {
      entry: new RosterEntry(session.id, Object.freeze([...session.tags]), this.#time.date()),
      secret: new Secret(session.session),
      fingerprint: session.fingerprint,
      profile: session.profile,
      changing: UNCHANGED,
    };
  }

  /** Takes in a session that was written by somebody else. Throws as `load` rejects. */
  adopt(stored: StoredRecord): KnownSession {
    const known = this.#revive(stored, new Map());
    this.enter(known);
    return known;
  }

  /** Makes a session available. */
  enter(known: KnownSession): void {
    this.#roster.orderByLastUse([known.entry]);
    this.#idsByKey.set(known.fingerprint, known.entry.id);
    this.#enter(known, this.#time.now());
  }

  /** Another auth key for a session. */
  replaceKey(known: KnownSession, session: string, fingerprint: string): void {
    this.#idsByKey.delete(known.fingerprint);
    known.secret = new Secret(session);
    known.fingerprint = fingerprint;
    this.#idsByKey.set(fingerprint, known.entry.id);
  }

  /** Forgets the session and its key. */
  forget(known: KnownSession): void {
    this.#sessions.delete(known.entry.id);
    if (this.#idsByKey.get(known.fingerprint) === known.entry.id) this.#idsByKey.delete(known.fingerprint);
  }

  info(known: KnownSession): SessionInfo {
    const { entry } = known;
    return Object.freeze({
      id: entry.id,
      state: entry.state,
      tags: entry.tags,
      availableAt: entry.state === "cooling" ? this.#time.toWall(entry.restsUntil) : null,
      reason: entry.reason,
      addedAt: entry.addedAt,
      lastUsedAt: entry.lastUsedAt,
    });
  }

  /** The record as it is to be on disk. */
  encode(known: KnownSession): string {
    const { entry } = known;
    const { cooldowns, restriction } = entry;
    const { methods, peers } = cooldowns.entries(this.#time.now());
    const isCooling = cooldowns.sessionUntil > this.#time.now();
    return encodeRecord({
      session: known.secret.reveal(),
      fingerprint: known.fingerprint,
      tags: entry.tags,
      profile: known.profile,
      addedAt: entry.addedAt,
      lastUsedAt: entry.lastUsedAt,
      cooldown: isCooling ? { until: this.#time.toWall(cooldowns.sessionUntil), reason: cooldowns.reason ?? "" } : null,
      methods: this.#toWall(methods),
      peers: this.#toWall(peers),
      restriction:
        restriction === null
          ? null
          : {
              reason: restriction.reason,
              until: restriction.until === null ? null : this.#time.toWall(restriction.until),
            },
      deadReason: entry.deadReason,
      disabledReason: entry.disabledReason,
    });
  }

  encodeById(id: string): string | undefined {
    const known = this.#sessions.get(id);
    return known && this.encode(known);
  }

  /** Takes in what another writer has learnt of the session: a cooldown only ever moves later, a death is a death. */
  merge(stored: StoredRecord): void {
    const known = this.#sessions.get(stored.id);
    if (known === undefined) return;
    const { entry } = known;
    const record = decodeRecord(stored.data);
    const now = this.#time.now();
    for (const { scope, until, reason } of this.#cooldownsOf(record))
      this.#roster.cool(entry, scope, until, reason, now);
    if (!known.changing.has("tags")) entry.tags = Object.freeze([...record.tags]);
    if (!known.changing.has("profile")) known.profile = record.profile;
    if (known.changing.has("life")) return;
    if (record.deadReason !== null) this.#roster.kill(entry, record.deadReason, now);
    if (record.disabledReason !== null) this.#roster.disable(entry, record.disabledReason, now);
    if (record.restriction !== null && entry.restriction === null) {
      this.#roster.restrict(entry, this.#restrictionOf(record), now);
    }
  }

  #enter(known: KnownSession, now: number): void {
    this.#sessions.set(known.entry.id, known);
    this.#roster.add(known.entry, now);
  }

  /** Sessions that are loaded together share their lists of tags. */
  #revive(stored: StoredRecord, lists: Map<string, readonly string[]>): KnownSession {
    const record = decodeRecord(stored.data);
    checkSession(record.session);
    const holder = this.#idsByKey.get(record.fingerprint);
    if (holder !== undefined) throw new Error(`it holds the same auth key as "${holder}"`);
    const entry = new RosterEntry(stored.id, shared(record.tags, lists), record.addedAt);
    entry.lastUsedAt = record.lastUsedAt;
    entry.deadReason = record.deadReason;
    entry.disabledReason = record.disabledReason;
    entry.restriction = this.#restrictionOf(record);
    for (const { scope, until, reason } of this.#cooldownsOf(record)) entry.coolDown(scope, until, reason);
    this.#idsByKey.set(record.fingerprint, stored.id);
    return {
      entry,
      secret: new Secret(record.session),
      fingerprint: record.fingerprint,
      profile: Object.keys(record.profile).length === 0 ? NO_PROFILE : record.profile,
      changing: UNCHANGED,
    };
  }

  #restrictionOf({ restriction }: SessionRecord): Restriction | null {
    if (restriction === null) return null;
    const { reason, until } = restriction;
    return { reason, until: until === null ? null : this.#time.fromWall(until) };
  }

  *#cooldownsOf(record: SessionRecord): Generator<{ scope: CooldownScope; until: number; reason: string }> {
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

/** Many sessions have no tag or one, and few tags are many sessions'. */
function shared(tags: readonly string[], lists: Map<string, readonly string[]>): readonly string[] {
  const [tag] = tags;
  if (tag === undefined) return NO_TAGS;
  if (tags.length > 1) return Object.freeze([...tags]);
  const list = lists.get(tag) ?? Object.freeze([tag]);
  lists.set(tag, list);
  return list;
}
