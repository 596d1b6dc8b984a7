import type { ClientAdapter } from "../connections/client-adapter.js";
import {
  AcquireTimeoutError,
  NoSessionAvailableError,
  PoolClosedError,
  SessionNotFoundError,
  SessionPoolError,
} from "../errors.js";
import type { UseOptions } from "../options/options.js";
import { describeType, isObject } from "../options/validators.js";
import type { SessionHealth, SessionInfo } from "../session-info.js";
import type { SessionRegistry } from "../state/session-registry.js";
import { parseSession } from "../telegram/session-string.js";
import { classifyTelegramError } from "../telegram/verdicts.js";
import { createJob, type JobRunner } from "./job-runner.js";

type Findings = Partial<Omit<SessionHealth, "id" | "isAlive" | "dcId">>;

/**
 * Asks Telegram for the account's own user, over an ordinary lease: nothing is sent while the session is cooling,
 * foreign, restricted, dead or disabled, and errors change its state as for any call. Rejects with
 * `SessionNotFoundError`, `PoolClosedError` or the signal's reason; every other failure is a finding.
 */
export async function checkSession<Client>(
  client: ClientAdapter<Client>,
  jobRunner: JobRunner<Client>,
  registry: SessionRegistry,
  waitMs: number,
  session: SessionInfo,
  signal?: AbortSignal,
): Promise<SessionHealth> {
  const { id } = session;
  const known = registry.get(id);
  const dcId = known === undefined ? 0 : parseSession(known.credentials.reveal()).dcId;
  const unasked = whyNotAsked(session, client);
  const found =
    unasked === null
      ? await ask(client, jobRunner, registry, { id, wait: waitMs, retry: "none", maxAttempts: 1, signal })
      : { reason: unasked };
  const isFrozen = isFrozenBy(session.reason) || isFrozenBy(found.reason) ? true : null;
  return Object.freeze({
    id,
    isAlive: found.reason === undefined,
    accountId: null,
    isBot: null,
    isPremium: null,
    isFrozen,
    frozenUntil: null,
    restriction: null,
    expiresAt: null,
    dcId,
    ...found,
    reason: found.reason ?? null,
  });
}

function whyNotAsked({ state, reason }: SessionInfo, client: ClientAdapter<unknown>): string | null {
  const why = reason === null ? "" : `: ${reason}`;
  if (client.ownUserRequest === undefined) return "not asked: the client adapter has no ownUserRequest()";
  if (state === "foreign") return "not asked: another process has it connected";
  if (state === "dead") return reason ?? "dead";
  return state === "disabled" || state === "restricted" ? `not asked: ${state}${why}` : null;
}

async function ask<Client>(
  client: ClientAdapter<Client>,
  jobRunner: JobRunner<Client>,
  registry: SessionRegistry,
  options: UseOptions & { readonly id: string },
): Promise<Findings> {
  const { id, signal } = options;
  try {
    const job = createJob<Client, unknown>((leased) => client.invoke(leased, client.ownUserRequest?.()), options);
    return readUser(await jobRunner.run(job));
  } catch (error) {
    if (signal?.aborted === true || error instanceof PoolClosedError || error instanceof SessionNotFoundError) {
      throw error;
    }
    return { reason: registry.get(id)?.deadReason ?? reasonOf(error) };
  }
}

/** Reads the account from the answer. An answer without it does not prove that the session is alive. */
function readUser(answer: unknown): Findings {
  const [user]: readonly unknown[] = Array.isArray(answer) ? answer : [];
  if (!isObject(user) || user.className !== "User" || user.self !== true || !isId(user.id)) {
    return { reason: `Telegram's answer does not contain the account (${describeType(answer)})` };
  }
  return {
    accountId: String(user.id),
    isBot: user.bot === true,
    isPremium: user.premium === true,
    restriction: user.restricted === true ? restrictionOf(user.restrictionReason) : null,
  };
}

/** Accepts numbers, bigints and the libraries' big integers. */
function isId(value: unknown): boolean {
  return value !== undefined && value !== null && /^[1-9]\d*$/.test(String(value));
}

/** Source: core.telegram.org/constructor/restrictionReason: `platform`, `reason` and `text`. */
function restrictionOf(reasons: unknown): string {
  const texts = (Array.isArray(reasons) ? reasons : []).filter(isObject).map(({ platform, reason, text }) => {
    return `${String(reason)} (${String(platform)})${typeof text === "string" && text !== "" ? `: ${text}` : ""}`;
  });
  return texts.length === 0 ? "restricted, without a reason from Telegram" : texts.join("; ");
}

function reasonOf(error: unknown): string {
  if (error instanceof NoSessionAvailableError || error instanceof AcquireTimeoutError) {
    return `not asked: ${error.message}`;
  }
  if (error instanceof SessionPoolError) return error.message;
  const { code } = classifyTelegramError(error, { method: "users.GetUsers" });
  return code === "" || code === "UNKNOWN" ? "the request failed" : code;
}

/** The codes FROZEN_METHOD_INVALID and FROZEN_PARTICIPANT_MISSING: see the table of verdicts. */
function isFrozenBy(reason: string | null | undefined): boolean {
  return reason?.includes("FROZEN_") === true;
}
