import type { TelegramObject } from "../connections/sign-in-client.js";
import { LoginError, OptionsError } from "../errors.js";
import { describeType, isObject } from "../options/validators.js";
import { type PasswordPrompt, signInByPassword } from "./password.js";
import { type SignedIn, type SignIn, signUpRequired, telegramCodeOf } from "./sign-in.js";

/** Asks for the phone number, in international form. `attempt` counts from 1; the previous number was invalid. */
export type PhonePrompt = (attempt: number) => string | Promise<string>;

/** Asks for the code that was sent, or for another one. */
export type CodePrompt = (sent: SentCode) => CodeAnswer | Promise<CodeAnswer>;

/** The code, or `{ resend: true }` to have it sent again by the next way. */
export type CodeAnswer = string | { readonly resend: true };

/** How a code was sent. */
export interface SentCode {
  /**
   * `"app"`: as a message in Telegram, to the account's other devices. `"sms"`, `"call"`, `"flashCall"`, `"missedCall"`,
   * `"fragmentSms"`, `"emailCode"` and whatever Telegram adds.
   */
  readonly via: string;
  /** How many digits it has; `null` when Telegram does not say. */
  readonly length: number | null;
  /** How it is sent with `{ resend: true }`; `null` when it cannot be sent again. */
  readonly nextVia: string | null;
  /** Seconds after which it can be sent again; `null` when Telegram does not say. */
  readonly resendAfterSeconds: number | null;
  /** Why it is asked for again; `null` the first time. */
  readonly retryReason: "invalid" | "expired" | "resent" | "notResent" | null;
}

interface PendingCode {
  readonly hash: string;
  readonly sent: Omit<SentCode, "retryReason">;
}

const MOST_ATTEMPTS = 3;

/** Asks for the phone number, has a code sent, and asks for that: at most three wrong ones of each. */
export async function signInByPhone(
  signIn: SignIn,
  prompts: { readonly phone: PhonePrompt; readonly code: CodePrompt },
  password: PasswordPrompt | undefined,
): Promise<SignedIn> {
  await signIn.connect();
  const { phone, answer } = await sendFirstCode(signIn, prompts.phone);
  try {
    return await enterCode(signIn, prompts.code, phone, answer);
  } catch (error) {
    if (telegramCodeOf(error) !== "SESSION_PASSWORD_NEEDED") throw error;
    signIn.codeUsed();
    return signInByPassword(signIn, password);
  }
}

async function sendFirstCode(
  signIn: SignIn,
  prompt: PhonePrompt,
): Promise<{ readonly phone: string; readonly answer: TelegramObject }> {
  for (let attempt = 1; ; attempt++) {
    const phone = (await signIn.askText("phone", () => prompt(attempt))).replace(/[^\d]/g, "");
    try {
      return { phone, answer: await sendCode(signIn, phone) };
    } catch (error) {
      if (telegramCodeOf(error) !== "PHONE_NUMBER_INVALID") throw error;
      if (attempt < MOST_ATTEMPTS) continue;
      const message = `Telegram knows no such phone number, ${attempt} times. It has to be in international form.`;
      throw new LoginError("LOGIN_PHONE_INVALID", message, { cause: error, reason: "PHONE_NUMBER_INVALID" });
    }
  }
}

function sendCode(signIn: SignIn, phoneNumber: string): Promise<TelegramObject> {
  const settings = { className: "CodeSettings" };
  return signIn.callAtHome("auth.SendCode", { phoneNumber, ...signIn.application(), settings });
}

async function enterCode(
  signIn: SignIn,
  prompt: CodePrompt,
  phoneNumber: string,
  first: TelegramObject,
): Promise<SignedIn> {
  let answer = first;
  let retryReason: SentCode["retryReason"] = null;
  for (let wrong = 0; ; ) {
    if (answer.className === "auth.SentCodeSuccess") return signIn.signedIn(answer.authorization as TelegramObject);
    const { hash, sent } = pendingCode(answer);
    signIn.codeSent(phoneNumber, hash);
    const entered = await signIn.ask(() => prompt({ ...sent, retryReason }));
    if (isResend(entered)) {
      const resent = await resendCode(signIn, phoneNumber, hash);
      retryReason = resent === undefined ? "notResent" : "resent";
      answer = resent ?? answer;
      continue;
    }
    try {
      return await signInByCode(signIn, phoneNumber, hash, String(entered));
    } catch (error) {
      const code = telegramCodeOf(error);
      if (code === "PHONE_NUMBER_UNOCCUPIED") throw signUpRequired(error);
      if (code === undefined || !WRONG_CODES.has(code)) throw error;
      wrong += 1;
      if (wrong === MOST_ATTEMPTS) throw wrongCode(wrong, code, error);
      retryReason = code === "PHONE_CODE_EXPIRED" ? "expired" : "invalid";
      if (code === "PHONE_CODE_EXPIRED") answer = await sendCode(signIn, phoneNumber);
    }
  }
}

function isResend(answer: unknown): boolean {
  if (typeof answer === "string") return false;
  if (isObject(answer) && answer.resend === true) return true;
  throw new OptionsError(`code() must answer with a string or { resend: true }; got ${describeType(answer)}.`);
}

const WRONG_CODES: ReadonlySet<string> = new Set(["PHONE_CODE_INVALID", "PHONE_CODE_EMPTY", "PHONE_CODE_EXPIRED"]);

async function signInByCode(
  signIn: SignIn,
  phoneNumber: string,
  phoneCodeHash: string,
  entered: string,
): Promise<SignedIn> {
  const fields = { phoneNumber, phoneCodeHash, phoneCode: entered.trim() };
  const authorization = await signIn.callForAuthorization("auth.SignIn", fields);
  const signedIn = signIn.signedIn(authorization);
  signIn.codeUsed();
  return signedIn;
}

/** `undefined` when there is no further way to send it. */
async function resendCode(
  signIn: SignIn,
  phoneNumber: string,
  phoneCodeHash: string,
): Promise<TelegramObject | undefined> {
  try {
    return await signIn.call("auth.ResendCode", { phoneNumber, phoneCodeHash });
  } catch (error) {
    const code = telegramCodeOf(error);
    if (code === "PHONE_CODE_EXPIRED") return sendCode(signIn, phoneNumber);
    if (code === "SEND_CODE_UNAVAILABLE") return undefined;
    throw error;
  }
}

/** Throws `LoginError` for what is no code, such as a demand to pay for one. */
function pendingCode({ className, type, phoneCodeHash, nextType, timeout }: TelegramObject): PendingCode {
  const sentType = Object(type) as TelegramObject;
  if (className !== "auth.SentCode" || sentType.className === "auth.SentCodeTypeSetUpEmailRequired") {
    const message =
      "Telegram wants something of this account that only its own apps can do. Log in with one of them first.";
    throw new LoginError("LOGIN_REFUSED", message, { reason: String(sentType.className ?? className) });
  }
  const { length } = sentType;
  const next = (nextType as TelegramObject | null | undefined)?.className;
  const sent = {
    via: wayOf(sentType.className, "auth.SentCodeType"),
    length: typeof length === "number" ? length : null,
    nextVia: next === undefined ? null : wayOf(next, "auth.CodeType"),
    resendAfterSeconds: typeof timeout === "number" ? timeout : null,
  };
  return { hash: String(phoneCodeHash), sent };
}

function wayOf(className: string, prefix: string): string {
  const name = className.slice(prefix.length);
  return name.charAt(0).toLowerCase() + name.slice(1);
}

function wrongCode(times: number, reason: string, cause: unknown): LoginError {
  return new LoginError("LOGIN_CODE_INVALID", `The code was wrong or too old ${times} times.`, { cause, reason });
}
