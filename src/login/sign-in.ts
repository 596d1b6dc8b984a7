import type { Clock } from "../common/clock.js";
import type { ClientAdapter } from "../connections/client-adapter.js";
import type { SignInClient, SignInOptions, TelegramObject } from "../connections/sign-in-client.js";
import { LoginError, OptionsError } from "../errors.js";
import { describeType } from "../options/validators.js";
import { codeTextOf } from "../telegram/error-code.js";
import { shapeOf } from "../telegram/error-shape.js";
import { formatSession } from "../telegram/session-string.js";
import { classifyTelegramError } from "../telegram/verdicts.js";

/** Timeout for giving up: revoking the code and the key, and closing the connection. */
const GIVE_UP_MS = 3_000;
/** Telegram names the account's data center once; a second time something is wrong. */
const MOST_MOVES = 3;

/** A completed login. */
export interface SignedIn {
  readonly session: string;
  /** The account's user id. */
  readonly accountId: string;
}

/**
 * One attempt to sign in: its requests, its prompts, and how it is undone. Everything ends when the
 * signal aborts.
 */
export class SignIn {
  readonly clock: Clock;
  readonly #client: SignInClient;
  readonly #signal: AbortSignal;
  #onLoginToken: () => void = () => {};
  #isTokenAccepted = false;
  /** Whether Telegram may have let the key in, as a whole or up to the password. */
  #mayBeSignedIn = false;
  #pendingCode: { readonly phoneNumber: string; readonly phoneCodeHash: string } | undefined;
  #inFlight: Promise<unknown> = Promise.resolve();

  /** Throws `OptionsError` for an adapter that cannot sign in. */
  constructor(
    adapter: ClientAdapter<unknown>,
    options: Omit<SignInOptions, "onLoginToken">,
    signal: AbortSignal,
    caller: string,
  ) {
    if (adapter.createSignIn === undefined) {
      throw new OptionsError(`${caller}: the client adapter cannot sign in: it has no createSignIn().`);
    }
    this.clock = options.clock;
    this.#signal = signal;
    this.#client = adapter.createSignIn({
      ...options,
      onLoginToken: () => {
        this.#isTokenAccepted = true;
        this.#onLoginToken();
      },
    });
  }

  /** What the application is known by, for the requests that name it. */
  application(): { readonly apiId: number; readonly apiHash: string } {
    return this.#client.application();
  }

  connect(dcId?: number): Promise<void> {
    return this.#client.connect(this.#signal, dcId);
  }

  /** Sends a request, and rejects at once when the signal aborts. Throws `LoginError` when Telegram says to wait. */
  async call(method: string, fields?: Readonly<Record<string, unknown>>): Promise<TelegramObject> {
    this.#signal.throwIfAborted();
    const answer = this.#client.call(method, fields);
    this.#inFlight = answer.catch(() => {});
    try {
      return await this.whileWanted(answer);
    } catch (error) {
      throw floodError(error) ?? error;
    }
  }

  /** A request after whose answer the key may be the account's. */
  async callForAuthorization(method: string, fields?: Readonly<Record<string, unknown>>): Promise<TelegramObject> {
    this.#mayBeSignedIn = true;
    return this.callAtHome(method, fields);
  }

  /** Sends a request to the data center where the account lives: Telegram says so by its error. */
  async callAtHome(method: string, fields?: Readonly<Record<string, unknown>>): Promise<TelegramObject> {
    for (let moves = 0; ; moves++) {
      try {
        return await this.call(method, fields);
      } catch (error) {
        const dcId = newDataCenterOf(error);
        if (dcId === undefined || moves === MOST_MOVES) throw error;
        await this.connect(dcId);
      }
    }
  }

  /** Settles as the promise does, or rejects with the signal's reason. */
  whileWanted<T>(promise: T | PromiseLike<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const abort = (): void => reject(this.#signal.reason);
      if (this.#signal.aborted) return abort();
      this.#signal.addEventListener("abort", abort, { once: true });
      const end = (): void => this.#signal.removeEventListener("abort", abort);
      Promise.resolve(promise).then(
        (value) => {
          end();
          resolve(value);
        },
        (error: unknown) => {
          end();
          reject(error);
        },
      );
    });
  }

  /** Runs a prompt. */
  ask<T>(prompt: () => T | PromiseLike<T>): Promise<T> {
    return this.whileWanted((async () => prompt())());
  }

  /** The same for what has to be a text. Throws `OptionsError` for anything else. */
  async askText(name: string, prompt: () => string | PromiseLike<string>): Promise<string> {
    const answer: unknown = await this.ask(prompt);
    if (typeof answer === "string") return answer;
    throw new OptionsError(`${name}() must answer with a string; got ${describeType(answer)}.`);
  }

  /** Remembers the code, to revoke it if the login is given up. */
  codeSent(phoneNumber: string, phoneCodeHash: string): void {
    this.#pendingCode = { phoneNumber, phoneCodeHash };
  }

  /** The code has been entered. */
  codeUsed(): void {
    this.#pendingCode = undefined;
  }

  /** From now on a login token that is accepted is noticed. */
  expectLoginToken(): void {
    this.#isTokenAccepted = false;
  }

  /** Resolves when the login token was accepted, or after `withinMs`. */
  async loginTokenAccepted(withinMs: number): Promise<void> {
    if (this.#isTokenAccepted) return;
    let end = (): void => {};
    const over = new Promise<void>((resolve) => {
      const timer = this.clock.setTimer(withinMs, resolve);
      end = () => timer.cancel();
      this.#onLoginToken = resolve;
    });
    try {
      await this.whileWanted(over);
    } finally {
      end();
      this.#onLoginToken = () => {};
    }
  }

  /** Whom an `auth.Authorization` lets in. Throws `LoginError` for a phone number without an account. */
  signedIn(authorization: TelegramObject): SignedIn {
    if (authorization.className === "auth.AuthorizationSignUpRequired") throw signUpRequired();
    const { id } = authorization.user as { readonly id: unknown };
    return { session: formatSession(this.#client.session(), "gramjs"), accountId: String(id) };
  }

  /** Closes the connection, so that another client may use the key; `giveUp` connects again to sign it out. */
  async disconnect(): Promise<void> {
    await (this.#client.disconnect?.() ?? this.#client.close());
  }

  /** Closes the connection, and leaves the key signed in. */
  close(): Promise<void> {
    return this.#client.close();
  }

  /** Undoes what was begun: revokes the code that was sent and signs the key out. Never rejects. */
  async giveUp(): Promise<void> {
    let end = (): void => {};
    const late = new Promise<void>((resolve) => {
      const timer = this.clock.setTimer(GIVE_UP_MS, resolve);
      end = () => timer.cancel();
    });
    try {
      await Promise.race([this.#takeBack().catch(() => {}), late]);
    } finally {
      end();
      await this.#client.close().catch(() => {});
    }
  }

  async #takeBack(): Promise<void> {
    // A request under way may let the key in after all.
    await this.#inFlight;
    if (this.#pendingCode !== undefined) await this.#client.call("auth.CancelCode", this.#pendingCode).catch(() => {});
    if (this.#mayBeSignedIn) await this.#client.call("auth.LogOut");
  }
}

/** Telegram's code in an error: `"PHONE_CODE_INVALID"`. */
export function telegramCodeOf(error: unknown): string | undefined {
  return typeof error === "object" && error !== null ? codeTextOf(shapeOf(error)) : undefined;
}

/** Telegram refuses with a code that means nothing else here. */
export function refusedError(error: unknown): unknown {
  const reason = telegramCodeOf(error);
  if (reason === undefined || error instanceof LoginError) return error;
  const message = `Telegram refuses the login (${reason}).${ADVICE.get(reason) ?? ""}`;
  return new LoginError("LOGIN_REFUSED", message, { cause: error, reason });
}

/** A phone number without an account: new accounts are not made here. */
export function signUpRequired(cause?: unknown): LoginError {
  return new LoginError(
    "SIGN_UP_REQUIRED",
    "The phone number has no Telegram account. Sign up with an app of Telegram's own, then log in again.",
    cause === undefined ? {} : { cause, reason: "PHONE_NUMBER_UNOCCUPIED" },
  );
}

const BANNED = " The phone number is banned: only Telegram can lift that.";
const ADVICE: ReadonlyMap<string, string> = new Map([
  ["PHONE_NUMBER_BANNED", BANNED],
  ["PHONE_NUMBER_FLOOD", " Too many codes were asked for with this number: try again in a day."],
  ["PHONE_PASSWORD_FLOOD", " Too many passwords were tried: try again in a day."],
  ["API_ID_INVALID", " Check apiId and apiHash: both are from my.telegram.org."],
  ["API_ID_PUBLISHED_FLOOD", " The api id is published in other programs: get one of your own from my.telegram.org."],
  ["AUTH_RESTART", " Begin again."],
]);

function floodError(error: unknown): LoginError | undefined {
  const { code, seconds } = classifyTelegramError(error);
  if (seconds === null || !/^FLOOD_.*WAIT$/.test(code)) return undefined;
  const message = `Telegram asks to wait ${seconds} s before the next attempt to log in.`;
  return new LoginError("LOGIN_FLOOD_WAIT", message, { cause: error, seconds, reason: `${code}_${seconds}` });
}

/** X of `PHONE_MIGRATE_X`, `USER_MIGRATE_X` and `NETWORK_MIGRATE_X`. */
function newDataCenterOf(error: unknown): number | undefined {
  const code = telegramCodeOf(error);
  if (code === undefined || !/^(?:PHONE|USER|NETWORK)_MIGRATE/.test(code)) return undefined;
  const named = Reflect.get(Object(error), "newDc") ?? /_MIGRATE_(\d+)/.exec(code)?.[1];
  return named === undefined ? undefined : Number(named);
}
