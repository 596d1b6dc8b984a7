import type { TelegramObject } from "../connections/sign-in-client.js";
import { type PasswordPrompt, signInByPassword } from "./password.js";
import { type SignedIn, type SignIn, telegramCodeOf } from "./sign-in.js";

/** What another session of the account accepts, to let a new key in. */
export interface LoginToken {
  readonly token: Buffer;
  /** Epoch milliseconds. */
  readonly expiresAt: number;
}

/** A token can be too old by the time it reaches the account's own data center. */
const MOST_STALE_TOKENS = 3;
const STALE: ReadonlySet<string | undefined> = new Set(["AUTH_TOKEN_EXPIRED", "AUTH_TOKEN_INVALID"]);

/**
 * A new token to be accepted; or, once one was accepted, who is signed in: asks for the password when there is one, and
 * moves to the data center of the account. Source: core.telegram.org/api/qr-login.
 */
export async function exportLoginToken(
  signIn: SignIn,
  password: PasswordPrompt | undefined,
  attempt = 1,
): Promise<LoginToken | SignedIn> {
  try {
    signIn.expectLoginToken();
    const exported = await signIn.callForAuthorization("auth.ExportLoginToken", {
      ...signIn.application(),
      exceptIds: [],
    });
    if (exported.className === "auth.LoginToken") return tokenOf(exported);
    if (exported.className !== "auth.LoginTokenMigrateTo") return authorizationOf(signIn, exported);
    await signIn.connect(Number(exported.dcId));
    const imported = await signIn.callForAuthorization("auth.ImportLoginToken", { token: exported.token });
    return authorizationOf(signIn, imported);
  } catch (error) {
    const code = telegramCodeOf(error);
    if (code === "SESSION_PASSWORD_NEEDED") return signInByPassword(signIn, password);
    if (STALE.has(code) && attempt < MOST_STALE_TOKENS) return exportLoginToken(signIn, password, attempt + 1);
    throw error;
  }
}

function tokenOf({ token, expires }: TelegramObject): LoginToken {
  return { token: Buffer.from(token as Uint8Array), expiresAt: Number(expires) * 1_000 };
}

function authorizationOf(signIn: SignIn, { authorization }: TelegramObject): SignedIn {
  return signIn.signedIn(authorization as TelegramObject);
}
