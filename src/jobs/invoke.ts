import type { ClientAdapter } from "../connections/client-adapter.js";
import { OptionsError } from "../errors.js";
import type { UseOptions } from "../options/options.js";
import { methodOf, rebuild, type TelegramRequest } from "../telegram/requests.js";
import { createJob, type Job } from "./job-runner.js";

/** The result type of a request. */
export type ResponseOf<R> = R extends { __response: infer Response } ? Response : unknown;

type RequestSource = TelegramRequest | (() => TelegramRequest);

/**
 * The job of `pool.invoke`: sends one request, which is created again for each session. `options.method` defaults to the
 * method of the request. Throws `OptionsError` if `request` is neither a request nor a function.
 */
export function createInvokeJob<Client>(
  adapter: ClientAdapter<Client>,
  request: unknown,
  options: UseOptions,
): Job<Client, unknown> {
  const source = checkSource(request);
  const method = options.method ?? (typeof source === "function" ? undefined : methodOf(source));
  const copies = new RequestCopies(source);
  return createJob((client, lease) => adapter.invoke(client, copies.forSession(lease.id)), { ...options, method });
}

function checkSource(value: unknown): RequestSource {
  const className: unknown = Reflect.get(Object(value), "className");
  if (typeof value === "function") {
    if (typeof className === "string") throw new OptionsError(classGiven(className));
    return value as () => TelegramRequest;
  }
  if (typeof className === "string") return value as TelegramRequest;
  throw new OptionsError(
    "invoke: expected a request, for instance new Api.users.GetUsers({ … }), or a function that creates one.",
  );
}

/** Both libraries name their classes of requests in `className`. */
function classGiven(className: string): string {
  return `invoke: expected a request, and got the class of one: pass new Api.${className}({ … }), or a function that creates one.`;
}

/**
 * One request for each session. The second attempt on a session sends the same request, so that Telegram can recognize the
 * duplicate by its `random_id`.
 */
class RequestCopies {
  readonly #source: RequestSource;
  /** One for each session that the job has tried. */
  readonly #copies = new Map<string, TelegramRequest>();

  constructor(source: RequestSource) {
    this.#source = source;
  }

  forSession(sessionId: string): TelegramRequest {
    const existing = this.#copies.get(sessionId);
    if (existing !== undefined) return existing;
    const created = typeof this.#source === "function" ? this.#source() : this.#copy(this.#source);
    this.#copies.set(sessionId, created);
    return created;
  }

  /** The first copy keeps the `random_id` that the caller can read on the original. */
  #copy(original: TelegramRequest): TelegramRequest {
    const copy = rebuild(original);
    const randomId: unknown = Reflect.get(original, "randomId");
    if (this.#copies.size === 0 && randomId !== undefined && copy !== original) Reflect.set(copy, "randomId", randomId);
    return copy;
  }
}
