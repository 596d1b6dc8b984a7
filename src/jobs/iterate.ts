import { toJob } from "../acquire/parse-options.js";
import type { Lease } from "../lease/lease.js";
import type { UseOptions } from "../options/options.js";
import { AsyncRendezvous } from "./async-rendezvous.js";
import type { JobRunner } from "./job-runner.js";

/** Makes what is to be iterated, on the client it is given. */
export type IterateWork<Client, T> = (
  client: Client,
  lease: Lease<Client>,
) => AsyncIterable<T> | Iterable<T> | Promise<AsyncIterable<T> | Iterable<T>>;

/** A failure after the first item: whatever Telegram said, the job must not begin anew on another session. */
class IterationFailure {
  readonly cause: unknown;

  constructor(cause: unknown) {
    this.cause = cause;
  }
}

/**
 * Iterates on one session: its lease lasts until the iteration ends. Another session may take over as in `use`, but only
 * before the first item; a later failure comes out, for no other account can go on in the middle.
 */
export async function* iterate<Client, T>(
  jobRunner: JobRunner<Client>,
  work: IterateWork<Client, T>,
  options: UseOptions,
): AsyncGenerator<T, void, undefined> {
  const handoff = new AsyncRendezvous<T>();
  let hasBegun = false;
  const begun = (): void => {
    hasBegun = true;
  };
  const job = {
    ...toJob<Client, void>((client, lease) => pump(handoff, work(client, lease), begun), options),
    isBound: () => hasBegun,
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

async function pump<T>(
  handoff: AsyncRendezvous<T>,
  items: ReturnType<IterateWork<unknown, T>>,
  begun: () => void,
): Promise<void> {
  let hasBegun = false;
  try {
    for await (const item of await items) {
      hasBegun = true;
      begun();
      if (!(await handoff.send(item))) return;
    }
  } catch (error) {
    throw hasBegun ? new IterationFailure(error) : error;
  }
}
