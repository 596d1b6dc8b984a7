import type { TelegramObject } from "../connections/sign-in-client.js";
import { LoginError } from "../errors.js";
import { isSafeGroup, type PasswordAlgorithm, type PasswordProof, provePassword } from "../telegram/srp.js";
import { type SignedIn, type SignIn, telegramCodeOf } from "./sign-in.js";

/** Asks for the password of the two-step verification. `attempt` counts from 1. */
export type PasswordPrompt = (hint: string | null, attempt: number) => string | Promise<string>;

const MOST_ATTEMPTS = 3;
const ALGORITHM = "PasswordKdfAlgoSHA256SHA256PBKDF2HMACSHA512iter100000SHA256ModPow";

/** What Telegram says of an account's password. */
interface PasswordInfo {
  readonly hint: string | null;
  readonly srpId: bigint;
  readonly serverB: Uint8Array;
  readonly algorithm: PasswordAlgorithm;
}

/**
 * The second step: asks for the password, at most three times, and proves knowledge of it without sending it. Throws
 * `LoginError`.
 */
export async function signInByPassword(signIn: SignIn, prompt: PasswordPrompt | undefined): Promise<SignedIn> {
  if (prompt === undefined) {
    const message =
      "The account has a password (two-step verification), and there is no prompt for it: pass password().";
    throw new LoginError("LOGIN_PASSWORD_NEEDED", message, { reason: "SESSION_PASSWORD_NEEDED" });
  }
  for (let attempt = 1; ; attempt++) {
    const info = await getPassword(signIn);
    const password = await signIn.askText("password", () => prompt(info.hint, attempt));
    try {
      return signIn.signedIn(await checkPassword(signIn, info, password));
    } catch (error) {
      if (telegramCodeOf(error) !== "PASSWORD_HASH_INVALID") throw error;
      if (attempt < MOST_ATTEMPTS) continue;
      const message = `The password was wrong ${attempt} times.`;
      throw new LoginError("LOGIN_PASSWORD_INVALID", message, { cause: error, reason: "PASSWORD_HASH_INVALID" });
    }
  }
}

async function checkPassword(signIn: SignIn, info: PasswordInfo, password: string): Promise<TelegramObject> {
  try {
    return await sendProof(signIn, info, password);
  } catch (error) {
    // The challenge expired while the prompt was open.
    if (telegramCodeOf(error) !== "SRP_ID_INVALID") throw error;
    return sendProof(signIn, await getPassword(signIn), password);
  }
}

async function sendProof(signIn: SignIn, info: PasswordInfo, password: string): Promise<TelegramObject> {
  let proof: PasswordProof;
  try {
    proof = await provePassword(password, info.algorithm, info.serverB);
  } catch (error) {
    throw unsafeExchange(error);
  }
  return signIn.callForAuthorization("auth.CheckPassword", {
    password: { className: "InputCheckPasswordSRP", srpId: info.srpId, ...proof },
  });
}

async function getPassword(signIn: SignIn): Promise<PasswordInfo> {
  const { currentAlgo, srp_B: serverB, srpId, hint } = await signIn.call("account.GetPassword");
  const { className, salt1, salt2, g, p } = Object(currentAlgo) as TelegramObject;
  if (className !== ALGORITHM || !(serverB instanceof Uint8Array)) {
    throw new LoginError("LOGIN_REFUSED", "The account's password is of a kind that this version does not know.");
  }
  const algorithm = { salt1, salt2, g: Number(g), p } as PasswordAlgorithm;
  if (!(await isSafeGroup(algorithm))) throw unsafeExchange();
  const known = typeof hint === "string" && hint !== "" ? hint : null;
  return { hint: known, srpId: BigInt(String(srpId)), serverB, algorithm };
}

function unsafeExchange(cause?: unknown): LoginError {
  const message =
    "The server's part of the password check is not safe, so the password was not used: it is not Telegram.";
  return new LoginError("LOGIN_REFUSED", message, { cause });
}
