import { toJob } from "../../acquire/parse-options.js";
import { isApplicationRefused } from "../../connections/connect-backoff.js";
import {
  AcquireTimeoutError,
  ConnectError,
  NoSessionAvailableError,
  OutcomeUnknownError,
  QueueFullError,
  SessionNotFoundError,
  SessionPoolError,
} from "../../errors.js";
import type { Lease } from "../../lease/lease.js";
import type { MapOptions, MapResult, PerItem, UseOptions } from "../../options/options.js";
import { checkItemOptions } from "../../options/validate.js";
import type { Criteria } from "../../state/criteria.js";
import type { Checkpoint } from "../../storage/checkpoint/checkpoint.js";
import { classifyTelegramError } from "../../telegram/verdicts.js";
import type { Job, JobRunner } from "../job-runner.js";

/** What the items of one run have in common. */
export interface ItemParts<Client, I, O> {
  readonly jobRunner: JobRunner<Client>;
  readonly work: (client: Client, item: I, lease: Lease<Client>) => O | Promise<O>;
  readonly options: MapOptions<I>;
  readonly checkpoint: Checkpoint | undefined;
  readonly common: UseOptions;
  /** Who began the run; only with `traceLeases`. */
  readonly stack: string | undefined;
  /** Whether an item ends so because the whole run does. */
  isEnd(error: unknown): boolean;
  /** The checkpoint could not be written. */
  failed(error: unknown): void;
}

type Outcome<O> = { readonly ok: true; readonly value: O } | { readonly ok: false; readonly error: unknown };

/** One item on its way. */
export class BulkItem<Client, I, O> {
  readonly #parts: ItemParts<Client, I, O>;
  readonly #item: I;
  readonly #index: number;
  /** What the checkpoint knows it by. */
  readonly #key: string | undefined;
  #job: Job<Client, O> | undefined;
  #attempts = 0;
  #sessionId: string | null = null;
  #isRunning = false;
  #lastError: unknown;
  /** Settles when its first write may be sent. */
  #begun: Promise<void> | undefined;
  /** What its requests failed with that was no answer of Telegram's. Bound: the requests of one item. */
  readonly #broken = new Set<unknown>();

  constructor(parts: ItemParts<Client, I, O>, item: I, index: number, key: string | undefined) {
    this.#parts = parts;
    this.#item = item;
    this.#index = index;
    this.#key = key;
  }

  /** What it waits for, when its work does not run. */
  get waitsFor(): Criteria | undefined {
    return this.#isRunning ? undefined : this.#job?.acquireRequest.criteria;
  }

  /** Resolves its result when that is durable; `undefined` when the end of the run has cut it. Rejects with `StorageError`. */
  async run(): Promise<MapResult<I, O> | undefined> {
    const outcome = await this.#outcome();
    const isCut = !outcome.ok && this.#parts.isEnd(outcome.error);
    if (this.#key !== undefined) await this.#mark(this.#key, outcome, isCut);
    return isCut ? undefined : this.#result(outcome);
  }

  async #outcome(): Promise<Outcome<O>> {
    for (;;) {
      try {
        this.#job = this.#makeJob();
        return { ok: true, value: await this.#parts.jobRunner.run(this.#job) };
      } catch (error) {
        if (!this.#waitsOutOutage(error)) return { ok: false, error };
      }
    }
  }

  /**
   * Whether an item that found no session that connects is tried again: the back-offs of the sessions pace it, and the
   * run's end stops it. Not where the caller has bounded waiting or attempts, or the application itself is refused.
   */
  #waitsOutOutage(error: unknown): boolean {
    const { wait = true, retry, maxAttempts = Number.POSITIVE_INFINITY } = this.#parts.options;
    const isBounded = (wait !== true && wait !== Number.POSITIVE_INFINITY) || Number.isFinite(maxAttempts);
    if (!(error instanceof ConnectError) || isBounded || retry === "none") return false;
    return !isApplicationRefused(classifyTelegramError(error.cause));
  }

  #makeJob(): Job<Client, O> {
    const { options, common, stack } = this.#parts;
    const work = (client: Client, lease: Lease<Client>): Promise<O> => this.#attempt(client, lease);
    const job = toJob(work, hasOwnOptions(options) ? { ...common, ...ownOptions(options, this.#item) } : common);
    job.acquireRequest.stack = stack;
    return Object.assign(job, { attemptSignal: options.signal, effectWatch: this.#effectWatch() });
  }

  async #attempt(client: Client, lease: Lease<Client>): Promise<O> {
    this.#attempts++;
    this.#sessionId = lease.id;
    this.#isRunning = true;
    try {
      return await this.#parts.work(client, this.#item, lease);
    } catch (error) {
      this.#lastError = error;
      throw error;
    } finally {
      this.#isRunning = false;
    }
  }

  #effectWatch(): Job<Client, O>["effectWatch"] {
    const { checkpoint, options, failed } = this.#parts;
    const key = this.#key;
    if (checkpoint === undefined || key === undefined) return undefined;
    return {
      broke: (error) => this.#broken.add(error),
      beforeWrite: () => {
        // Who may repeat everything has nothing to note.
        if (options.retry === "any") return undefined;
        this.#begun ??= checkpoint.markStarted(key).catch((error: unknown) => {
          failed(error);
          throw error;
        });
        return this.#begun;
      },
      onNoEffect: () => {
        if (this.#begun === undefined) return;
        this.#begun = undefined;
        checkpoint.unmarkStarted(key).catch(failed);
      },
    };
  }

  async #mark(key: string, outcome: Outcome<O>, isCut: boolean): Promise<void> {
    const { checkpoint } = this.#parts;
    const fate = outcome.ok ? "done" : this.#dispositionOf(outcome.error, isCut);
    if (fate === "open") checkpoint?.release(key);
    else await checkpoint?.markFinished(key, fate);
  }

  /** What the next run has to know of an item that failed: only Telegram's answer and the work's own error are final. */
  #dispositionOf(error: unknown, isCut: boolean): "done" | "unknown" | "open" {
    const isRepeatable = this.#parts.options.retry === "any";
    const outcome = causesOf(error).find((cause) => cause instanceof OutcomeUnknownError);
    if (outcome?.executed === "yes") return "done";
    if (outcome !== undefined && !isRepeatable) return "unknown";
    if (!isCut && !this.#isAboutPool(error)) return "done";
    return this.#begun === undefined ? "open" : "unknown";
  }

  /** Whether it failed for a reason that is neither an answer to it nor an error of its own, also where the work has wrapped it. */
  #isAboutPool(error: unknown): boolean {
    if (classifyTelegramError(error).kind !== "none") return true;
    return causesOf(error).some((cause) => cause instanceof SessionPoolError || this.#broken.has(cause));
  }

  #result(outcome: Outcome<O>): MapResult<I, O> {
    const item = this.#item;
    const index = this.#index;
    const attempts = this.#attempts;
    if (outcome.ok) return { item, index, ok: true, value: outcome.value, sessionId: this.#sessionId, attempts };
    const { error } = outcome;
    const sessionId = error !== this.#lastError && isWithoutSession(error) ? null : this.#sessionId;
    return { item, index, ok: false, error, sessionId, attempts };
  }
}

/** What `use` takes, as far as it is the same for every item. `stop` keeps what has not begun from beginning. */
export function commonOptions<I>(options: MapOptions<I>, stop: AbortSignal): UseOptions {
  const { id, key, peer, tags, method, wait, priority, retry, maxAttempts, timeoutMs } = options;
  const texts = { id: textOr(id), key: textOr(key), peer: textOr(peer) };
  return { ...texts, tags, method, wait, priority, retry, maxAttempts, timeoutMs, signal: stop };
}

function textOr<I>(value: PerItem<I> | undefined): string | undefined {
  return typeof value === "function" ? undefined : value;
}

function hasOwnOptions<I>({ id, key, peer }: MapOptions<I>): boolean {
  return typeof id === "function" || typeof key === "function" || typeof peer === "function";
}

/** What follows from the item. Throws what a function of the user's throws, and `OptionsError`. */
function ownOptions<I>({ id, key, peer }: MapOptions<I>, item: I): Pick<UseOptions, "id" | "key" | "peer"> {
  const own = { id: valueFor(id, item), key: valueFor(key, item), peer: valueFor(peer, item) };
  checkItemOptions(own);
  return own;
}

function valueFor<I>(value: PerItem<I> | undefined, item: I): string | undefined {
  return typeof value === "function" ? value(item) : value;
}

/** A chain of causes is rarely longer; one may be a circle. */
const MOST_CAUSES = 10;

/** The error and what it was caused by. */
function causesOf(error: unknown): readonly unknown[] {
  const causes: unknown[] = [];
  for (let cause = error; cause !== undefined && causes.length < MOST_CAUSES; ) {
    causes.push(cause);
    cause = cause instanceof Error ? cause.cause : undefined;
  }
  return causes;
}

/** Whether the pool has said so for want of a session, after whatever was tried before. */
function isWithoutSession(error: unknown): boolean {
  return [NoSessionAvailableError, AcquireTimeoutError, QueueFullError, SessionNotFoundError].some(
    (type) => error instanceof type,
  );
}
