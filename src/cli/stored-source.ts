import type { BucketRow, IncidentRow, NamedCooldown, RunRow, SessionRow, StatusRow } from "../dashboard/frames.js";
import { toSecond, toSessionRow } from "../dashboard/pool-source.js";
import type { Reading, Source } from "../dashboard/source.js";
import { wireId, wireText, wireTextOrNull } from "../dashboard/wire-text.js";
import { Timeline } from "../observability/timeline.js";
import type { SessionState } from "../session-info.js";
import type { SessionStorage } from "../storage/storage.js";
import { isFreeze } from "../telegram/verdicts.js";
import type { StoredCheckpoint } from "./stored-checkpoints.js";
import { SessionReader, type StoredSession, type StoredSessions } from "./stored-sessions.js";

/** Uncertain items that are named. */
const MAX_NAMED = 100;
/** A cooldown that ends later by less than this is the same one. */
const SAME_COOLDOWN_MS = 1_000;
const HIDES_COOLDOWN: readonly SessionState[] = ["disabled", "restricted", "dead"];
const PEER = /^(user|chat|channel):/;

/**
 * The sessions of a storage that other processes use. Events are derived from the difference between two readings: `observe` is to be
 * called from time to time.
 */
export class StoredSource implements Source {
  readonly name: string;
  readonly ended: undefined;
  readonly management: undefined;
  readonly #reader: SessionReader;
  readonly #timeline: Timeline;
  #before: ReadonlyMap<string, StoredSession> | undefined;
  #reading: Promise<StoredSessions> | undefined;

  constructor(name: string, storage: SessionStorage) {
    this.name = name;
    this.#reader = new SessionReader(storage);
    this.#timeline = new Timeline(Date.now, () => 0);
  }

  /** Reads the storage, unless that is under way, and notes what has happened since the last time. */
  observe(): Promise<StoredSessions> {
    this.#reading ??= this.#observe().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #observe(): Promise<StoredSessions> {
    const found = await this.#reader.read();
    const before = this.#before;
    this.#before = new Map(found.sessions.map((session) => [session.id, session]));
    if (before !== undefined) {
      for (const session of found.sessions) this.#compare(before.get(session.id), session);
    }
    return found;
  }

  async read(): Promise<Reading> {
    const { sessions, rejected, checkpoints, status } = await this.observe();
    return {
      at: Date.now(),
      status: toStatusRow(status),
      sessions: sessions.map(toRow),
      leases: [],
      runs: checkpoints.map(toRunRow),
      rejected: rejected.map(({ id, reason }) => ({ id: wireId(id), reason: wireText(reason) })),
    };
  }

  buckets(since: number): readonly BucketRow[] {
    return this.#timeline.buckets(since);
  }

  incidents(after: number): readonly IncidentRow[] {
    return this.#timeline.incidents(after).map((incident) => ({
      ...incident,
      sessionId: incident.sessionId === null ? null : wireId(incident.sessionId),
      reason: wireTextOrNull(incident.reason),
    }));
  }

  close(): void {}

  #compare(before: StoredSession | undefined, session: StoredSession): void {
    const { id, state, reason, availableAt, partialCooldowns } = session;
    const now = Date.now();
    for (const [name, until] of Object.entries(partialCooldowns)) {
      if (until > (before?.partialCooldowns[name] ?? now) + SAME_COOLDOWN_MS) this.#noteFlood(id, until, name, null);
    }
    // While a session is disabled, restricted or dead its cooldown is not told.
    const isTold = before?.availableAt != null || !HIDES_COOLDOWN.includes(before?.state ?? "free");
    if (isTold && availableAt !== null && availableAt > (before?.availableAt ?? now) + SAME_COOLDOWN_MS) {
      this.#noteFlood(id, availableAt, undefined, reason);
    }
    if (state === before?.state) return;
    if (state === "dead") this.#timeline.recordEvent("died", { id, reason });
    if (state === "restricted") this.#timeline.recordEvent("restricted", { id, reason });
    const isBack = before?.state === "dead" || before?.state === "restricted" || before?.state === "cooling";
    if (isBack && state === "free") this.#timeline.recordEvent("recovered", { id });
  }

  /** A record does not say which method was refused when the whole session cools. */
  #noteFlood(id: string, until: number, name: string | undefined, reason: string | null): void {
    this.#timeline.recordFlood(name === undefined ? "whole session" : PEER.test(name) ? "one peer" : name);
    this.#timeline.recordEvent("cooled", { id, until, reason: reason ?? name });
  }
}

function toStatusRow({ nextAvailableAt, ...counts }: StoredSessions["status"]): StatusRow {
  const isNow = counts.free > 0;
  return {
    ...counts,
    leased: null,
    waiters: null,
    leases: null,
    nextAvailableAt: isNow ? null : toSecond(nextAvailableAt),
  };
}

function toRow(session: StoredSession): SessionRow {
  const cooldowns: readonly NamedCooldown[] = Object.entries(session.partialCooldowns);
  return toSessionRow({
    ...session,
    isFrozen: isFreeze(session.reason),
    methods: cooldowns.filter(([name]) => !PEER.test(name)),
    peers: cooldowns.filter(([name]) => PEER.test(name)),
    holder: session.process === null ? null : { ...session.process, isSelf: false },
    isConnected: session.process !== null,
  });
}

function toRunRow({ name, done, uncertain, isRunning }: StoredCheckpoint): RunRow {
  return {
    key: wireId(name),
    name: wireText(name),
    startedAt: null,
    done,
    total: null,
    failed: 0,
    skipped: 0,
    perSecond: 0,
    etaAt: null,
    waitingUntil: null,
    uncertain: uncertain.length,
    uncertainItems: uncertain.slice(0, MAX_NAMED).map(wireText),
    hasKeys: true,
    hasEnded: !isRunning,
  };
}
