import { OptionsError } from "../errors.js";
import type { Job } from "../jobs/job-runner.js";
import type { Lease } from "../lease/lease.js";
import type { AcquireOptions, UseOptions } from "../options/options.js";
import { ANY, type Criteria } from "../state/criteria.js";
import { canonicalMethod, type TelegramRequest } from "../telegram/requests.js";
import { AcquireRequest } from "./acquire-request.js";

/** What checked options of `acquire` mean. */
export function toAcquireRequest(
  options: AcquireOptions,
  attemptTimeoutMs: number = Number.POSITIVE_INFINITY,
  maxAttempts: number = Number.POSITIVE_INFINITY,
): AcquireRequest {
  return new AcquireRequest({
    criteria: toCriteria(options),
    waitMs: toWaitMs(options.wait),
    priority: options.priority ?? 0,
    signal: options.signal,
    attemptTimeoutMs,
    maxAttempts,
  });
}

/** What checked options of `use` mean. */
export function toJob<Client, T>(
  work: (client: Client, lease: Lease<Client>) => T | Promise<T>,
  options: UseOptions,
): Job<Client, T> {
  const timeoutMs = options.timeoutMs ?? Number.POSITIVE_INFINITY;
  return {
    work,
    acquireRequest: toAcquireRequest(options, timeoutMs, options.maxAttempts),
    retry: options.retry ?? "safe",
    timeoutMs,
    attemptSignal: options.signal,
  };
}

/** The request or the function that makes it. Throws `OptionsError` for anything else. */
export function asRequestFactory(value: unknown): TelegramRequest | (() => TelegramRequest) {
  if (typeof value === "function") return value as () => TelegramRequest;
  const className: unknown = typeof value === "object" && value !== null ? Reflect.get(value, "className") : undefined;
  if (typeof className === "string") return value as TelegramRequest;
  throw new OptionsError(
    "invoke: expected a request, for instance new Api.users.GetUsers({ … }), or a function that makes one.",
  );
}

function toCriteria({ id, key, tags, method, peer }: AcquireOptions): Criteria {
  if (id === undefined && key === undefined && tags === undefined && method === undefined && peer === undefined) {
    return ANY;
  }
  return {
    id,
    key,
    tags: tags ?? [],
    methods: method === undefined ? [] : [canonicalMethod(method)],
    peers: peer === undefined ? [] : [peer],
  };
}

function toWaitMs(wait: boolean | number | undefined): number {
  if (wait === undefined || wait === true) return Number.POSITIVE_INFINITY;
  return wait === false ? 0 : wait;
}
