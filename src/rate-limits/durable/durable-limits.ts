import type { CallLimit, MethodBudget } from "../../options/budgets.js";
import type { PoolContext } from "../../pool-context.js";
import type { PoolLifecycle } from "../../pool-lifecycle.js";
import type { SessionRegistry } from "../../state/session-registry.js";
import type { StoredRecord } from "../../storage/storage.js";
import type { OutgoingRequest } from "../../telegram/requests.js";
import { ConfiguredLimits, NO_BLOCKS, type RateBlock, type RateLimits, type SessionBlocks } from "../rate-limits.js";
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
  readonly #pool: string = poolName();

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
        this.#spendingAt(stored.id).load(stored);
        this.#registry.forgetRejected(stored.id);
      } catch (error) {
        this.#registry.reject(stored.id, error);
      }
    }
  }

  blockedSessions(records: readonly StoredRecord[], now: number): readonly SessionBlocks[] {
    const blocks = new Map<string, readonly RateBlock[]>();
    for (const { id } of records) {
      const exhausted = isSpendingRecord(id) ? this.#exhaustedIn(this.#spendingAt(id), now) : NO_BLOCKS;
      if (exhausted.length > 0) blocks.set(id, exhausted);
    }
    if (blocks.size === 0) return [];
    const sessions = this.#registry.ids().map((id) => ({ id, blocks: blocks.get(this.#recordIdOf(id)) ?? NO_BLOCKS }));
    return sessions.filter((session) => session.blocks.length > 0);
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
    return until > now ? [...blocks, { method, peer: undefined, until }] : blocks;
  }

  #exhaustedIn(spending: AccountSpending, now: number): readonly RateBlock[] {
    const untils = Array.from(this.#durable, ([method, limit]) => ({
      method,
      peer: undefined,
      until: spending.blockedUntil(method, limit, now),
    }));
    return untils.filter(({ until }) => until > now);
  }

  #spendingOf(id: string): AccountSpending {
    return this.#spendingAt(this.#recordIdOf(id));
  }

  #spendingAt(recordId: string): AccountSpending {
    let spending = this.#spendings.get(recordId);
    if (spending === undefined) {
      spending = new AccountSpending(this.#context, this.#lifecycle, recordId, this.#pool);
      this.#spendings.set(recordId, spending);
    }
    return spending;
  }

  #recordIdOf(id: string): string {
    const accountId = this.#registry.get(id)?.accountId ?? null;
    return accountId === null ? sessionRecordId(id) : accountRecordId(accountId);
  }
}
