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
import { createJob, type Job, type JobRunner } from "../job-runner.js";

/** State shared by the items of one run. */
export interface ItemContext<Client, I, O> {
  readonly jobRunner: JobRunner<Client>;
  readonly work: (client: Client, item: I, lease: Lease<Client>) => O | Promise<O>;
  readonly options: MapOptions<I>;
  readonly checkpoint: Checkpoint | undefined;
  /** Options that do not depend on the item: see {@link commonOptions}. */
  readonly common: UseOptions;
  /** Stack of the call of `map`, with `traceLeases`. */
  readonly stack: string | undefined;
  /** Whether the error of an item comes from the end of the run. */
  isEndOfRun(error: unknown): boolean;
  /** Called when the checkpoint could not be written. */
  onCheckpointFailed(error: unknown): void;
}

type Outcome<O> = { readonly ok: true; readonly value: O } | { readonly ok: false; readonly error: unknown };

/** One item of a run: runs its job, records its outcome in the checkpoint, and creates its result. */
export class BulkItem<Client, I, O> {
  readonly #context: ItemContext<Client, I, O>;
  readonly #item: I;
  readonly #index: number;
  /** Identifies the item in the checkpoint. */
  readonly #key: string | undefined;
  #job: Job<Client, O> | undefined;
  #attempts = 0;
  #sessionId: string | null = null;
  #isRunning = false;
  #lastError: unknown;
  /** Resolves when the start of the item is recorded in the checkpoint. Its first write waits for that. */
  #started: Promise<void> | undefined;
  /** Errors of its requests that are not answers of Telegram. */
  readonly #requestFailures = new Set<unknown>();

  constructor(context: ItemContext<Client, I, O>, item: I, index: number, key: string | undefined) {
    this.#context = context;
    this.#item = item;
    this.#index = index;
    this.#key = key;
  }

  /** The sessions that the item waits for; `undefined` while its work runs. */
  get awaitedCriteria(): Criteria | undefined {
    return this.#isRunning ? undefined : this.#job?.request.criteria;
  }

  /**
   * Resolves with the result once it is durable, or with `undefined` if the end of the run has interrupted the item.
   * Rejects with `StorageError`.
   */
  async run(): Promise<MapResult<I, O> | undefined> {
    const outcome = await this.#outcome();
    const isInterrupted = !outcome.ok && this.#context.isEndOfRun(outcome.error);
    if (this.#key !== undefined) await this.#mark(this.#key, outcome, isInterrupted);
    return isInterrupted ? undefined : this.#result(outcome);
  }

  async #outcome(): Promise<Outcome<O>> {
    for (;;) {
      try {
        this.#job = this.#makeJob();
        return { ok: true, value: await this.#context.jobRunner.run(this.#job) };
      } catch (error) {
        if (!this.#shouldTryAgain(error)) return { ok: false, error };
      }
    }
  }

  /**
   * Whether an item for which no session could connect is tried again, paced by the back-offs of the sessions until the
   * run ends: unless the caller has limited waiting or attempts, or Telegram refuses the application itself.
   */
  #shouldTryAgain(error: unknown): boolean {
    const { wait = true, retry, maxAttempts = Number.POSITIVE_INFINITY } = this.#context.options;
    const isLimited = (wait !== true && wait !== Number.POSITIVE_INFINITY) || Number.isFinite(maxAttempts);
    if (!(error instanceof ConnectError) || isLimited || retry === "none") return false;
    return !isApplicationRefused(classifyTelegramError(error.cause));
  }

  #makeJob(): Job<Client, O> {
    const { options, common, stack } = this.#context;
    const work = (client: Client, lease: Lease<Client>): Promise<O> => this.#attempt(client, lease);
    const job = createJob(work, hasOwnOptions(options) ? { ...common, ...ownOptions(options, this.#item) } : common);
    job.request.stack = stack;
    return Object.assign(job, { attemptSignal: options.signal, effectWatch: this.#effectWatch() });
  }

  async #attempt(client: Client, lease: Lease<Client>): Promise<O> {
    this.#attempts++;
    this.#sessionId = lease.id;
    this.#isRunning = true;
    try {
      return await this.#context.work(client, this.#item, lease);
    } catch (error) {
      this.#lastError = error;
      throw error;
    } finally {
      this.#isRunning = false;
    }
  }

  #effectWatch(): Job<Client, O>["effectWatch"] {
    const { checkpoint, options, onCheckpointFailed } = this.#context;
    const key = this.#key;
    if (checkpoint === undefined || key === undefined) return undefined;
    return {
      broke: (error) => this.#requestFailures.add(error),
      beforeWrite: () => {
        // An item that may be repeated in any case needs no record of its start.
        if (options.retry === "any") return undefined;
        this.#started ??= checkpoint.markStarted(key).catch((error: unknown) => {
          onCheckpointFailed(error);
          throw error;
        });
        return this.#started;
      },
      onNoEffect: () => {
        if (this.#started === undefined) return;
        this.#started = undefined;
        checkpoint.unmarkStarted(key).catch(onCheckpointFailed);
      },
    };
  }

  async #mark(key: string, outcome: Outcome<O>, isInterrupted: boolean): Promise<void> {
    const { checkpoint } = this.#context;
    const state = outcome.ok ? "done" : this.#stateAfter(outcome.error, isInterrupted);
    if (state === "open") checkpoint?.release(key);
    else await checkpoint?.markFinished(key, state);
  }

  /** State of a failed item for the next run: it is done only after an answer of Telegram or an error of the work itself. */
  #stateAfter(error: unknown, isInterrupted: boolean): "done" | "unknown" | "open" {
    const isRepeatable = this.#context.options.retry === "any";
    const outcome = unknownOutcomeIn(error);
    if (outcome?.executed === "yes") return "done";
    if (outcome !== undefined && !isRepeatable) return "unknown";
    if (!isInterrupted && !this.#isPoolError(error)) return "done";
    return this.#started === undefined ? "open" : "unknown";
  }

  /** Whether an error, also one that the work has wrapped, is neither an answer to a request nor an error of the work itself. */
  #isPoolError(error: unknown): boolean {
    if (classifyTelegramError(error).kind !== "none") return true;
    return causesOf(error).some((cause) => cause instanceof SessionPoolError || this.#requestFailures.has(cause));
  }

  #result(outcome: Outcome<O>): MapResult<I, O> {
    const item = this.#item;
    const index = this.#index;
    const attempts = this.#attempts;
    if (outcome.ok) return { item, index, ok: true, value: outcome.value, sessionId: this.#sessionId, attempts };
    const { error } = outcome;
    const sessionId = error !== this.#lastError && isNoSessionError(error) ? null : this.#sessionId;
    return { item, index, ok: false, error, sessionId, attempts };
  }
}

/** The options of `use` that are the same for every item. The signal `stop` prevents further attempts. */
export function commonOptions<I>(options: MapOptions<I>, stop: AbortSignal): UseOptions {
  const { id, key, peer, knows, tags, method, wait, priority, retry, maxAttempts, timeoutMs } = options;
  const texts = { id: textOr(id), key: textOr(key), peer: textOr(peer), knows: textOr(knows) };
  const { resolve, account, allowFrozen } = options;
  return {
    ...texts,
    resolve,
    tags,
    account,
    method,
    allowFrozen,
    wait,
    priority,
    retry,
    maxAttempts,
    timeoutMs,
    signal: stop,
  };
}

function textOr<I>(value: PerItem<I> | undefined): string | undefined {
  return typeof value === "function" ? undefined : value;
}

function hasOwnOptions<I>({ id, key, peer, knows }: MapOptions<I>): boolean {
  return [id, key, peer, knows].some((option) => typeof option === "function");
}

/** The options of `use` that depend on the item. Throws `OptionsError`, and the errors of the user's functions. */
function ownOptions<I>(
  { id, key, peer, knows }: MapOptions<I>,
  item: I,
): Pick<UseOptions, "id" | "key" | "peer" | "knows"> {
  const own = {
    id: valueFor(id, item),
    key: valueFor(key, item),
    peer: valueFor(peer, item),
    knows: valueFor(knows, item),
  };
  checkItemOptions(own);
  return own;
}

function valueFor<I>(value: PerItem<I> | undefined, item: I): string | undefined {
  return typeof value === "function" ? value(item) : value;
}

/** Maximum length of a chain of causes, which may be circular. */
const MAX_CAUSES = 10;

/** The error and its causes. */
function causesOf(error: unknown): readonly unknown[] {
  const causes: unknown[] = [];
  for (let cause = error; cause !== undefined && causes.length < MAX_CAUSES; ) {
    causes.push(cause);
    cause = cause instanceof Error ? cause.cause : undefined;
  }
  return causes;
}

/** The error, or the cause of it, that says that a request may have taken effect. */
export function unknownOutcomeIn(error: unknown): OutcomeUnknownError | undefined {
  return causesOf(error).find((cause) => cause instanceof OutcomeUnknownError);
}

/** Returns whether the error means that no session was available, possibly after several attempts. */
function isNoSessionError(error: unknown): boolean {
  return [NoSessionAvailableError, AcquireTimeoutError, QueueFullError, SessionNotFoundError].some(
    (type) => error instanceof type,
  );
}

/** The items of one run that were started and have not ended: at most `concurrency`. */
export class ActiveItems<Client, I, O> {
  readonly #items = new Set<BulkItem<Client, I, O>>();
  #onIdle: () => void = () => {};

  add(item: BulkItem<Client, I, O>): void {
    this.#items.add(item);
  }

  delete(item: BulkItem<Client, I, O>): void {
    this.#items.delete(item);
    if (this.#items.size === 0) this.#onIdle();
  }

  /** Resolves when there are none. */
  idle(): Promise<void> {
    if (this.#items.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onIdle = resolve;
    });
  }

  /** The distinct criteria of the items if all of them wait for a session; empty while the work of one runs. */
  get awaitedCriteria(): readonly Criteria[] {
    const distinct = new Map<string, Criteria>();
    for (const { awaitedCriteria } of this.#items) {
      if (awaitedCriteria === undefined) return [];
      // Without the key: it says which session is preferred, not which one can serve.
      const { id, tags, methods, peers, account, knows, allowFrozen } = awaitedCriteria;
      distinct.set(JSON.stringify([id, tags, methods, peers, account, knows?.peer, allowFrozen]), awaitedCriteria);
    }
    return [...distinct.values()];
  }
}
