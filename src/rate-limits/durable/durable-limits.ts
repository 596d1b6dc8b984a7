import type { CallLimit, MethodBudget } from "../../options/budgets.js";
import type { PoolContext } from "../../pool-context.js";
import type { PoolLifecycle } from "../../pool-lifecycle.js";
import type { PooledSession } from "../../state/pooled-session.js";
import type { SessionRegistry } from "../../state/session-registry.js";
import type { StoredRecord } from "../../storage/storage.js";
import type { OutgoingRequest } from "../../telegram/requests.js";
import { ConfiguredLimits, type RateBlock, type RateLimits, type SessionBlocks } from "../rate-limits.js";
import { AccountSpending, poolName } from "./account-spending.js";
import { accountRecordId, isSpendingRecord, sessionRecordId } from "./spending-record.js";

/** Whether some of the limits are durable. */
export function hasDurableLimits(budgets: ReadonlyMap<string, MethodBudget>): boolean {
  return [...budgets.values()].some(({ perSession }) => perSession?.durable === true);
}

/**
 * The limits of the option `budgets`, of which some are durable: the calls that were made are in the storage, in one record
 * for each account, where they are reserved before they are made.
 */
export class DurableLimits implements RateLimits {
  readonly #context: PoolContext;
  readonly #lifecycle: PoolLifecycle;
  readonly #registry: SessionRegistry;
  /** The limits that are not durable. */
  readonly #windowed: ConfiguredLimits;
  readonly #durable = new Map<string, CallLimit>();
  /** By id of the record. Bounded by the accounts that have called, and by the records in the storage. */
  readonly #spendings = new Map<string, AccountSpending>();
  /** The record of each session that has called, with the account that the session had. */
  readonly #known = new WeakMap<PooledSession, KnownSpending>();
  /** Records that were read since {@link takeBlocked}. */
  readonly #changed = new Set<string>();
  readonly #pool: string = poolName();
  /** Deletes one record after the other. */
  #deleting: Promise<void> = Promise.resolve();

  constructor(
    budgets: ReadonlyMap<string, MethodBudget>,
    context: PoolContext,
    lifecycle: PoolLifecycle,
    registry: SessionRegistry,
  ) {
    this.#context = context;
    this.#lifecycle = lifecycle;
    this.#registry = registry;
    const windowed = new Map(budgets);
    for (const [method, { perSession, perPeer }] of budgets) {
      if (perSession?.durable !== true) continue;
      this.#durable.set(method, perSession);
      windowed.set(method, { perSession: undefined, perPeer });
    }
    this.#windowed = new ConfiguredLimits(windowed);
  }

  blocksOf(id: string, request: OutgoingRequest, now: number): readonly RateBlock[] {
    return this.#withDurable(id, request, now, this.#windowed.blocksOf(id, request, now));
  }

  reserve(id: string, { method }: OutgoingRequest, now: number): Promise<void> | undefined {
    const limit = this.#durable.get(method);
    if (limit === undefined) return undefined;
    const spending = this.#spendingOf(id);
    return spending.mayCall(method, limit, now) ? undefined : spending.reserve(method, limit);
  }

  onSent(id: string, request: OutgoingRequest, now: number): readonly RateBlock[] {
    const { method } = request;
    const limit = this.#durable.get(method);
    if (limit !== undefined) this.#spendingOf(id).count(method, limit, now);
    return this.#withDurable(id, request, now, this.#windowed.onSent(id, request, now));
  }

  load(records: readonly StoredRecord[]): void {
    for (const stored of records) {
      if (!isSpendingRecord(stored.id)) continue;
      try {
        const spending = this.#spendingAt(stored.id);
        if (spending.load(stored)) this.#changed.add(stored.id);
        if (spending.isExpired) this.#deleteSoon(spending);
        this.#registry.forgetRejected(stored.id);
      } catch (error) {
        this.#registry.reject(stored.id, error);
      }
    }
  }

  /** Records outlive their sessions and would accumulate. */
  #deleteSoon(spending: AccountSpending): void {
    this.#deleting = this.#deleting.then(() => spending.deleteExpired());
    this.#lifecycle.runInBackground(this.#deleting);
  }

  takeBlocked(now: number): readonly SessionBlocks[] {
    if (this.#changed.size === 0) return [];
    const blocked: SessionBlocks[] = [];
    for (const id of this.#registry.ids()) {
      const known = this.#registry.get(id);
      const names = recordIdsOf(id, known?.accountId ?? null);
      if (!names.some((name) => this.#changed.has(name))) continue;
      // Its own record may be news to that of its account.
      if (known !== undefined) this.#known.delete(known);
      const blocks = this.#exhaustedIn(this.#spendingOf(id), now);
      if (blocks.length > 0) blocked.push({ id, blocks });
    }
    this.#changed.clear();
    return blocked;
  }

  async flush(): Promise<void> {
    await Promise.all(Array.from(this.#spendings.values(), (spending) => spending.close()));
  }

  /** Adds the block of the durable limit, if it is exhausted. */
  #withDurable(
    id: string,
    { method }: OutgoingRequest,
    now: number,
    blocks: readonly RateBlock[],
  ): readonly RateBlock[] {
    const limit = this.#durable.get(method);
    if (limit === undefined) return blocks;
    const until = this.#spendingOf(id).blockedUntil(method, limit, now);
    return until > now ? [...blocks, { method, peer: undefined, until, isOfAccount: true }] : blocks;
  }

  #exhaustedIn(spending: AccountSpending, now: number): readonly RateBlock[] {
    const untils = Array.from(this.#durable, ([method, limit]) => ({
      method,
      peer: undefined,
      until: spending.blockedUntil(method, limit, now),
    }));
    return untils.filter(({ until }) => until > now);
  }

  /** What the account of the session has spent, or the session itself while its account is not known. */
  #spendingOf(id: string): AccountSpending {
    const known = this.#registry.get(id);
    const accountId = known?.accountId ?? null;
    const before = known && this.#known.get(known);
    if (before !== undefined && before.accountId === accountId) return before.spending;
    const [recordId, sessionId] = recordIdsOf(id, accountId);
    const spending = this.#spendingAt(recordId);
    const ofSession = sessionId === undefined ? undefined : this.#spendings.get(sessionId);
    if (ofSession !== undefined) {
      spending.absorb(ofSession, this.#durable);
      this.#spendings.delete(ofSession.id);
    }
    if (known !== undefined) this.#known.set(known, { accountId, spending });
    return spending;
  }

  #spendingAt(recordId: string): AccountSpending {
    let spending = this.#spendings.get(recordId);
    if (spending === undefined) {
      spending = new AccountSpending(this.#context, this.#lifecycle, recordId, this.#pool);
      this.#spendings.set(recordId, spending);
    }
    return spending;
  }
}

interface KnownSpending {
  readonly accountId: string | null;
  readonly spending: AccountSpending;
}

/** The id of the record for what a session spends, and that of what it spent before its account was known. */
function recordIdsOf(id: string, accountId: string | null): readonly [string, ...string[]] {
  return accountId === null ? [sessionRecordId(id)] : [accountRecordId(accountId), sessionRecordId(id)];
}
