import { inspect } from "node:util";
import { type Clock, systemClock } from "../common/clock.js";
import { ProcessRef } from "../common/process-ref.js";
import type { ClientAdapter } from "../connections/client-adapter.js";
import { OptionsError } from "../errors.js";
import type { ClientProfile } from "../options/client-profile.js";
import { resolveProfile } from "../options/validate.js";
import { describeType, isObject } from "../options/validators.js";
import type { PasswordPrompt } from "./password.js";
import { type CodePrompt, type PhonePrompt, signInByPhone } from "./phone-code.js";
import { type QrPrompt, signInByQrCode } from "./qr-code.js";
import { refusedError, type SignedIn, SignIn } from "./sign-in.js";

/** The prompts of both ways to sign in. A prompt that throws ends the login with that error. */
export interface CommonPrompts {
  /** Asks for the password of the two-step verification, with its hint. Without it such accounts cannot sign in. */
  readonly password?: PasswordPrompt | undefined;
  /** Ends the login whenever it aborts, with its reason; nothing is left behind. */
  readonly signal?: AbortSignal | undefined;
}

/** Signing in with a QR code, which an app of the account scans: Settings, Devices, Link Desktop Device. */
export interface QrPrompts extends CommonPrompts {
  readonly qr: QrPrompt;
}

/** Signing in with the phone number, and a code that Telegram sends. */
export interface PhonePrompts extends CommonPrompts {
  readonly phone: PhonePrompt;
  readonly code: CodePrompt;
}

/** The prompts of one of the two ways to sign in. */
export type LoginPrompts = QrPrompts | PhonePrompts;

/** How the client that signs in is set up. */
export interface LoginOptions {
  /** How the account shows itself; to be given to `add` as well. @default the client adapter's */
  readonly profile?: ClientProfile | undefined;
  /** Milliseconds for one connect. @default 15_000 */
  readonly connectTimeoutMs?: number | undefined;
  /** Milliseconds for one answer. @default 60_000 */
  readonly callTimeoutMs?: number | undefined;
  /** Source of time and timers. @default systemClock */
  readonly clock?: Clock | undefined;
}

/** A new session. `inspect` and JSON do not show its string. */
export interface LoginResult {
  /** The session string, for `add`: it gives full access to the account. */
  readonly session: string;
  /** The account's user id. */
  readonly accountId: string;
}

const CONNECT_TIMEOUT_MS = 15_000;
const CALL_TIMEOUT_MS = 60_000;

/**
 * Signs an account in, with a QR code or with its phone number, and resolves a new session of it. `client` is a client
 * adapter, `gramjs({ … })` or `teleproto({ … })`. Wrong codes and passwords are asked for again, three times each.
 *
 * Given up, by the signal or by an error, it leaves nothing behind: no connection, no timer, no code that could still be
 * used, no session at Telegram.
 *
 * Throws `LoginError` (see its `code`), `ConnectError`, `CallTimeoutError`, `OptionsError`, the signal's reason, or
 * what a prompt threw.
 *
 * @example
 * ```ts
 * const { session, accountId } = await login(gramjs({ apiId, apiHash }), {
 *   qr: (url) => console.log(renderUnicodeCompact(url)),
 *   password: (hint) => askHidden(`Password (${hint ?? "no hint"}): `),
 * });
 * await pool.add("alice", session);
 * ```
 */
export async function login<Client>(
  client: ClientAdapter<Client>,
  prompts: LoginPrompts,
  options: LoginOptions = {},
): Promise<LoginResult> {
  check(client, prompts);
  const { clock = systemClock } = options;
  const profile = resolveProfile("login", options.profile ?? {});
  const { connectTimeoutMs = CONNECT_TIMEOUT_MS, callTimeoutMs = CALL_TIMEOUT_MS } = options;
  const signal = prompts.signal ?? new AbortController().signal;
  signal.throwIfAborted();
  const processRef = new ProcessRef(clock);
  try {
    return await processRef.whileRunning(async () => {
      await client.open();
      client.checkProfile?.("login", profile);
      const signIn = new SignIn(client, { profile, clock, connectTimeoutMs, callTimeoutMs }, signal, "login");
      return new NewSession(await run(signIn, prompts, signal));
    });
  } finally {
    processRef.end();
  }
}

async function run(signIn: SignIn, prompts: LoginPrompts, signal: AbortSignal): Promise<SignedIn> {
  try {
    const signedIn = await ("qr" in prompts
      ? signInByQrCode(signIn, prompts.qr, prompts.password)
      : signInByPhone(signIn, prompts, prompts.password));
    signal.throwIfAborted();
    await signIn.close();
    return signedIn;
  } catch (error) {
    await signIn.giveUp();
    throw refusedError(error);
  }
}

class NewSession implements LoginResult {
  readonly accountId: string;
  readonly #session: string;

  constructor({ session, accountId }: SignedIn) {
    this.accountId = accountId;
    this.#session = session;
  }

  get session(): string {
    return this.#session;
  }

  toJSON(): object {
    return { accountId: this.accountId };
  }
}
Object.defineProperty(NewSession.prototype, inspect.custom, {
  value(this: NewSession): string {
    return `LoginResult { accountId: '${this.accountId}', session: [redacted] }`;
  },
});

function check(client: unknown, prompts: unknown): void {
  if (!isObject(client) || typeof Reflect.get(client, "open") !== "function") {
    throw new OptionsError(`login: expected a client adapter, such as gramjs({ … }); got ${describeType(client)}.`);
  }
  if (!isObject(prompts)) {
    throw new OptionsError(`login: expected { qr } or { phone, code }; got ${describeType(prompts)}.`);
  }
  const isFunction = (name: string): boolean => typeof Reflect.get(prompts, name) === "function";
  const isMissing = (name: string): boolean => Reflect.get(prompts, name) === undefined;
  const isQr = isFunction("qr") && isMissing("phone") && isMissing("code");
  const isPhone = isFunction("phone") && isFunction("code") && isMissing("qr");
  if (!isQr && !isPhone) throw new OptionsError("login: expected the function qr, or the functions phone and code.");
  if (!isMissing("password") && !isFunction("password")) throw new OptionsError("login: password must be a function.");
  const signal: unknown = Reflect.get(prompts, "signal");
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw new OptionsError(`login: signal must be an AbortSignal; got ${describeType(signal)}.`);
  }
}
