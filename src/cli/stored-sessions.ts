import { proxyName } from "../options/proxy.js";
import { isReserved } from "../options/validators.js";
import { RemoteClaims } from "../ownership/claims.js";
import type { Claim } from "../ownership/ownership.js";
import { ownIdentity } from "../ownership/process-identity.js";
import type { PoolStatus, SessionInfo } from "../session-info.js";
import { SessionEntry } from "../state/session-entry.js";
import { decodeRecord, type SessionRecord } from "../storage/record.js";
import type { SessionStorage, StoredRecord } from "../storage/storage.js";
import { CheckpointReader, type StoredCheckpoint } from "./stored-checkpoints.js";

/** The process that holds a session. */
export interface HoldingProcess {
  readonly pid: number;
  /** Whether it runs on this host. */
  readonly isLocal: boolean;
}

/** The state of a session by its record. Leases are not in the record: a session that a process owns is `"foreign"`. */
export interface StoredSession extends SessionInfo {
  /** When a restriction is expected to end: a guess. `null` when there is none, or it does not end by itself. */
  readonly restrictedUntil: number | null;
  /** Methods and peers that are cooling down, and until when. */
  readonly partialCooldowns: Readonly<Record<string, number>>;
  /** Who has it connected, or may. */
  readonly process: HoldingProcess | null;
  /** Kind, host and port of its proxy; `null` without one, and if the record is encrypted. */
  readonly proxy: string | null;
}

/** What a storage holds, read without opening a pool. */
export interface StoredSessions {
  /** By id, in the order of their names. */
  readonly sessions: readonly StoredSession[];
  /** Records that cannot be read, and why. */
  readonly rejected: readonly { readonly id: string; readonly reason: string }[];
  readonly checkpoints: readonly StoredCheckpoint[];
  readonly status: Omit<PoolStatus, "waiters" | "leased">;
}

/**
 * Reads records as a pool does, and nothing else: it writes nothing, claims nothing and connects nothing. A reader that
 * is kept also recognizes claims of other hosts that are no longer renewed.
 */
export class SessionReader {
  readonly #storage: SessionStorage;
  readonly #claims = new RemoteClaims(ownIdentity());
  readonly #checkpoints = new CheckpointReader();

  constructor(storage: SessionStorage) {
    this.#storage = storage;
  }

  /** Everything that is stored now. Throws `StorageError`. */
  async read(now: number = Date.now()): Promise<StoredSessions> {
    const records = await this.#storage.list();
    const sessions: StoredSession[] = [];
    const rejected: { id: string; reason: string }[] = [];
    for (const stored of records) {
      if (isReserved(stored.id)) continue;
      try {
        const record = decodeRecord(stored.data);
        if (!record.isRemoved) sessions.push(this.#toSession(stored, record, now));
      } catch (error) {
        rejected.push({ id: stored.id, reason: error instanceof Error ? error.message : String(error) });
      }
    }
    sessions.sort((one, other) => compare(one.id, other.id));
    rejected.sort((one, other) => compare(one.id, other.id));
    const checkpoints = this.#checkpoints.read(records);
    return { sessions, rejected, checkpoints, status: statusOf(sessions, now) };
  }

  #toSession({ id }: StoredRecord, record: SessionRecord, now: number): StoredSession {
    const holder = this.#holderOf(id, record.owner);
    const entry = toEntry(id, record, holder !== null, now);
    const { state, restriction, cooldowns } = entry;
    const { methods, peers, tags, addedAt, lastUsedAt, accountId, isBot, expiresAt } = record;
    // A pool shows no cooldown of a foreign session. Here every session in use is foreign.
    const isCooling = state === "cooling" || (state === "foreign" && cooldowns.sessionUntil > now);
    const partial = Object.entries({ ...methods, ...peers }).filter(([, until]) => until > now);
    return {
      id,
      state,
      tags,
      availableAt: isCooling ? cooldowns.sessionUntil : null,
      reason: isCooling ? cooldowns.reason : entry.reason,
      addedAt,
      lastUsedAt,
      accountId,
      isBot,
      expiresAt,
      restrictedUntil: state === "restricted" ? (restriction?.until ?? null) : null,
      partialCooldowns: Object.fromEntries(partial),
      process: holder,
      proxy: record.profile.proxy === undefined ? null : proxyName(record.profile.proxy),
    };
  }

  /** A claim is void when its process has ended or, on another host, when it was observed for its ttl without a renewal. */
  #holderOf(id: string, claim: Claim | null): HoldingProcess | null {
    if (claim === null) {
      this.#claims.forget(id);
      return null;
    }
    const now = performance.now();
    this.#claims.observe(id, claim, now);
    if (!this.#claims.isHeld(id, now)) return null;
    return { pid: claim.pid, isLocal: this.#claims.isLocal(claim) };
  }
}

/** The process of a session: `"4711"`, or `"4711 (another host)"`. */
export function processName({ process }: Pick<StoredSession, "process">): string {
  if (process === null) return "";
  return process.isLocal ? `${process.pid}` : `${process.pid} (another host)`;
}

/** The session as a pool without leases has it, on the time line of the record: the wall clock. */
function toEntry(id: string, record: SessionRecord, isForeign: boolean, now: number): SessionEntry {
  const { tags, addedAt, disabledReason, deadReason, restriction, cooldown } = record;
  const entry = new SessionEntry(id, tags, addedAt);
  entry.setBlockers({ disabledReason, deadReason, restriction, isForeign });
  if (cooldown !== null) entry.coolDown({ kind: "session" }, cooldown.until, cooldown.reason);
  entry.state = entry.stateAfterExpiry(now);
  return entry;
}

function statusOf(sessions: readonly StoredSession[], now: number): StoredSessions["status"] {
  const counts = { free: 0, leased: 0, cooling: 0, restricted: 0, dead: 0, disabled: 0, foreign: 0 };
  let nextAvailableAt = Number.POSITIVE_INFINITY;
  for (const { state, availableAt } of sessions) {
    counts[state]++;
    if (state === "cooling") nextAvailableAt = Math.min(nextAvailableAt, availableAt ?? Number.POSITIVE_INFINITY);
  }
  const { leased: _, ...known } = counts;
  const next = Number.isFinite(nextAvailableAt) ? nextAvailableAt : null;
  return { total: sessions.length, ...known, nextAvailableAt: counts.free > 0 ? now : next };
}

function compare(one: string, other: string): number {
  return one.localeCompare(other, "en", { numeric: true });
}
