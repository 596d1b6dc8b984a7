import { type Deferred, deferred } from "../common/deferred.js";
import type { Lease } from "../lease/lease.js";
import type { UseOptions } from "../options/options.js";
import { createJob, type JobRunner } from "./job-runner.js";

/** Creates the iterable of `pool.iterate`, with the client that it is given. */
export type IterateWork<Client, T> = (
  client: Client,
  lease: Lease<Client>,
) => AsyncIterable<T> | Iterable<T> | Promise<AsyncIterable<T> | Iterable<T>>;

/** Wraps an error after the first item, so that no verdict makes the job start again on another session. */
class IterationFailure {
  readonly cause: unknown;

  constructor(cause: unknown) {
    this.cause = cause;
  }
}

/**
 * Iterates on one session, whose lease lasts until the iteration ends. Retries on another session as `use` does, but only
 * before the first item: no other account can continue in the middle.
 */
export async function* iterate<Client, T>(
  jobRunner: JobRunner<Client>,
  work: IterateWork<Client, T>,
  options: UseOptions,
): AsyncGenerator<T, void, undefined> {
  const handoff = new Handoff<T>();
  const job = {
    ...createJob<Client, void>((client, lease) => sendItems(handoff, work(client, lease)), options),
    isBound: () => handoff.hasBegun,
  };
  const running = jobRunner.run(job).then(
    () => handoff.end(),
    (error: unknown) => handoff.fail(error instanceof IterationFailure ? error.cause : error),
  );
  try {
    for (let next = await handoff.receive(); next !== undefined; next = await handoff.receive()) yield next.item;
  } finally {
    handoff.end();
    await running;
  }
}

async function sendItems<T>(handoff: Handoff<T>, items: ReturnType<IterateWork<unknown, T>>): Promise<void> {
  let hasBegun = false;
  try {
    for await (const item of await items) {
      hasBegun = true;
      if (!(await handoff.send(item))) return;
    }
  } catch (error) {
    throw hasBegun ? new IterationFailure(error) : error;
  }
}

interface Received<T> {
  readonly item: T;
}

/** Passes items from the job to the reader one by one: the next is created only after the reader asked for it. */
class Handoff<T> {
  #receiver: Deferred<Received<T> | undefined> | undefined;
  /** The item that was sent before it was asked for. */
  #sent: Received<T> | undefined;
  #sender: Deferred<boolean> | undefined;
  #end: { readonly error: unknown; readonly hasFailed: boolean } | undefined;
  #hasBegun = false;

  /** Whether an item has been sent. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  /** Resolves with whether the reader wants another item, once it has said so. */
  send(item: T): Promise<boolean> {
    this.#hasBegun = true;
    if (this.#end !== undefined) return Promise.resolve(false);
    const receiver = this.#receiver;
    this.#receiver = undefined;
    if (receiver === undefined) this.#sent = { item };
    else receiver.resolve({ item });
    this.#sender = deferred();
    return this.#sender.promise;
  }

  /** Asks for the next item. Resolves with `undefined` at the end; rejects with the error of a failed iteration. */
  receive(): Promise<Received<T> | undefined> {
    const sent = this.#sent;
    this.#sent = undefined;
    if (sent !== undefined) return Promise.resolve(sent);
    if (this.#end?.hasFailed) return Promise.reject(this.#end.error);
    if (this.#end !== undefined) return Promise.resolve(undefined);
    this.#answerSender(true);
    this.#receiver = deferred();
    return this.#receiver.promise;
  }

  /** Ends the iteration, from either side. */
  end(): void {
    this.#finish({ error: undefined, hasFailed: false });
  }

  fail(error: unknown): void {
    this.#finish({ error, hasFailed: true });
  }

  #finish(end: { readonly error: unknown; readonly hasFailed: boolean }): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#answerSender(false);
    if (end.hasFailed) this.#receiver?.reject(end.error);
    else this.#receiver?.resolve(undefined);
    this.#receiver = undefined;
  }

  #answerSender(isWanted: boolean): void {
    const sender = this.#sender;
    this.#sender = undefined;
    sender?.resolve(isWanted);
  }
}
