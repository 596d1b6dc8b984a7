import type { Clock } from "../common/clock.js";
import { ProgressReporter } from "../common/progress.js";
import type { ClientAdapter } from "../connections/client-adapter.js";
import {
  AcquireTimeoutError,
  NoSessionAvailableError,
  PoolClosedError,
  SessionNotFoundError,
  SessionPoolError,
} from "../errors.js";
import type { CheckOptions, CheckProgress, UseOptions } from "../options/options.js";
import { describeType } from "../options/validators.js";
import type { PoolContext } from "../pool-context.js";
import type { SessionHealth, SessionInfo } from "../session-info.js";
import type { AccountFacts } from "../state/account-facts.js";
import type { SessionRegistry } from "../state/session-registry.js";
import type { SessionStateManager } from "../state/session-state-manager.js";
import {
  type AuthorizationLife,
  type Freeze,
  type OwnUser,
  readAuthorizationLife,
  readFreeze,
  readOwnUser,
} from "../telegram/account-answers.js";
import { parseSession } from "../telegram/session-string.js";
import { classifyTelegramError, isFreeze } from "../telegram/verdicts.js";
import { createJob, type JobRunner } from "./job-runner.js";

/** What Telegram has answered. `undefined`: it has not, or not completely. */
interface Answers {
  readonly user: OwnUser;
  /** `null`: the account is not frozen. */
  readonly freeze: Freeze | null | undefined;
  readonly life: AuthorizationLife | undefined;
}

/** The own user, a freeze, and the end of the authorization. */
const QUESTIONS = 3;

function questions(done: number): CheckProgress {
  return { done, total: QUESTIONS };
}

/** Why the session is not alive, or was not asked. */
interface Refusal {
  readonly reason: string;
}

/**
 * Asks Telegram about an account without a message to anybody: for its own user, for a freeze, and when the session ends.
 * Over an ordinary lease: nothing is sent while the session is cooling, foreign, dead, disabled or restricted by anything
 * but a freeze, and errors change its state as for any call. Rejects with `SessionNotFoundError`, `PoolClosedError` or the
 * signal's reason; every other failure is a finding.
 */
export class SessionCheck<Client> {
  readonly #client: ClientAdapter<Client>;
  readonly #clock: Clock;
  /** How long a session that is leased is waited for. */
  readonly #waitMs: number;
  readonly #jobRunner: JobRunner<Client>;
  readonly #registry: SessionRegistry;
  readonly #sessionState: SessionStateManager;
  readonly #facts: AccountFacts;

  constructor(
    { clock, options: { client, connectTimeoutMs, callTimeoutMs } }: PoolContext<Client>,
    jobRunner: JobRunner<Client>,
    registry: SessionRegistry,
    sessionState: SessionStateManager,
    facts: AccountFacts,
  ) {
    this.#client = client;
    this.#clock = clock;
    this.#waitMs = connectTimeoutMs + callTimeoutMs;
    this.#jobRunner = jobRunner;
    this.#registry = registry;
    this.#sessionState = sessionState;
    this.#facts = facts;
  }

  /** Checks one session. What is learned becomes part of its state. */
  async run(session: SessionInfo, { signal, onProgress }: CheckOptions): Promise<SessionHealth> {
    const { id } = session;
    const progress = new ProgressReporter("onProgress of check", onProgress, this.#clock, questions);
    const known = this.#registry.get(id);
    const dcId = known === undefined ? 0 : parseSession(known.credentials.reveal()).dcId;
    const unasked = this.#whyNotAsked(session);
    const found =
      unasked === null
        ? await this.#ask({ id, wait: this.#waitMs, retry: "none", signal }, () => progress.advance())
        : { reason: unasked };
    const isKnownFrozen = isFreeze(session.reason) || this.#registry.get(id)?.isFrozen === true;
    progress.complete(QUESTIONS);
    return Object.freeze({
      id,
      dcId,
      ...(isRefusal(found) ? refused(found, isKnownFrozen) : alive(found, isKnownFrozen)),
    });
  }

  #whyNotAsked({ state, reason }: SessionInfo): string | null {
    const why = reason === null ? "" : `: ${reason}`;
    if (this.#client.ownUserRequest === undefined) return "not asked: the client adapter has no ownUserRequest()";
    if (state === "foreign") return "not asked: another process has it connected";
    if (state === "dead") return reason ?? "dead";
    const isHeld = state === "cooling" || state === "disabled" || (state === "restricted" && !isFreeze(reason));
    return isHeld ? `not asked: ${state}${why}` : null;
  }

  async #ask(options: UseOptions & { readonly id: string }, answered: () => void): Promise<Answers | Refusal> {
    const { id, signal } = options;
    this.#facts.askedIds.add(id);
    try {
      const job = createJob<Client, Answers | Refusal>((leased) => this.#question(id, leased, answered), {
        ...options,
        allowFrozen: true,
        maxAttempts: 1,
      });
      const found = await this.#jobRunner.run(job);
      // A later question may have shown that the session is dead.
      const death = this.#registry.get(id)?.deadReason ?? null;
      return death === null ? found : { reason: death };
    } catch (error) {
      if (signal?.aborted === true || error instanceof PoolClosedError || error instanceof SessionNotFoundError) {
        throw error;
      }
      return { reason: this.#registry.get(id)?.deadReason ?? reasonOf(error) };
    } finally {
      this.#facts.askedIds.delete(id);
    }
  }

  /** One question after the other: the second is not sent if the first was refused. */
  async #question(id: string, leased: Client, answered: () => void): Promise<Answers | Refusal> {
    const fingerprint = this.#registry.get(id)?.fingerprint;
    const answer = await this.#client.invoke(leased, this.#client.ownUserRequest?.());
    answered();
    const user = readOwnUser(answer);
    // An answer without the account does not prove that the session is alive.
    if (user === undefined) {
      return { reason: `Telegram's answer does not contain the account (${describeType(answer)})` };
    }
    const freeze = readFreeze(await this.#answerTo(leased, "help.GetAppConfig", { hash: 0 }));
    answered();
    // Refused to bots (BOT_METHOD_INVALID), whose authorization does not end by disuse.
    const life = user.isBot
      ? undefined
      : readAuthorizationLife(await this.#answerTo(leased, "account.GetAuthorizations"));
    // In the job, which waits until what was learned is durable.
    if (this.#registry.get(id)?.fingerprint === fingerprint) this.#learn(id, { user, freeze, life });
    return { user, freeze, life };
  }

  /** The answer to a request; `undefined` if there is none: then what it would say is unknown. */
  async #answerTo(leased: Client, method: string, fields: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    try {
      return await this.#client.invoke(leased, this.#client.createRequest?.(method, fields));
    } catch {
      return undefined;
    }
  }

  #learn(id: string, { user: { accountId, isBot }, freeze, life }: Answers): void {
    const known = this.#registry.get(id);
    if (known === undefined) return;
    this.#facts.learn(known, { accountId, isBot, ...life });
    if (freeze === null && known.isFrozen) this.#sessionState.thaw(known);
    else if (freeze) this.#sessionState.freeze(known, freeze.until);
  }
}

type Findings = Omit<SessionHealth, "id" | "dcId">;

const UNKNOWN: Omit<Findings, "isAlive" | "reason"> = {
  accountId: null,
  isBot: null,
  isPremium: null,
  isFrozen: null,
  frozenUntil: null,
  restriction: null,
  expiresAt: null,
};

function isRefusal(found: Answers | Refusal): found is Refusal {
  return "reason" in found;
}

function refused({ reason }: Refusal, isKnownFrozen: boolean): Findings {
  return { ...UNKNOWN, isAlive: false, isFrozen: isKnownFrozen || isFreeze(reason) ? true : null, reason };
}

function alive({ user, freeze, life }: Answers, isKnownFrozen: boolean): Findings {
  const isFrozen = freeze === undefined ? null : freeze !== null;
  return {
    ...UNKNOWN,
    ...user,
    isAlive: true,
    isFrozen: isFrozen ?? (isKnownFrozen || null),
    frozenUntil: freeze?.until ?? null,
    restriction: joined(user.restriction, freeze ? describeFreeze(freeze) : null),
    expiresAt: life?.expiresAt ?? null,
    reason: null,
  };
}

function describeFreeze({ since, appealUrl }: Freeze): string {
  return `frozen since ${new Date(since).toISOString()}${appealUrl === null ? "" : `, appeal at ${appealUrl}`}`;
}

function joined(...texts: readonly (string | null)[]): string | null {
  const some = texts.filter((text) => text !== null);
  return some.length === 0 ? null : some.join("; ");
}

function reasonOf(error: unknown): string {
  if (error instanceof NoSessionAvailableError || error instanceof AcquireTimeoutError) {
    return `not asked: ${error.message}`;
  }
  if (error instanceof SessionPoolError) return error.message;
  const { code } = classifyTelegramError(error, { method: "users.GetUsers" });
  return code === "" || code === "UNKNOWN" ? "the request failed" : code;
}
