import { exportLoginToken } from "./login-token.js";
import type { PasswordPrompt } from "./password.js";
import type { SignedIn, SignIn } from "./sign-in.js";

/** Shows a QR code that says `url`; a newer one takes its place. `expiresAt`: epoch milliseconds. */
export type QrPrompt = (url: string, expiresAt: number) => void | Promise<void>;

/** How long before its expiry a code is replaced. The old one can still be scanned in that time. */
const RENEW_BEFORE_MS = 3_000;
/** The clocks of this host and of Telegram may differ: no token is shown shorter or longer than this. */
const SHORTEST_MS = 500;
const LONGEST_MS = 60_000;

/** Shows one code after the other until an app of the account accepts one. */
export async function signInByQrCode(
  signIn: SignIn,
  show: QrPrompt,
  password: PasswordPrompt | undefined,
): Promise<SignedIn> {
  await signIn.connect();
  for (;;) {
    const exported = await exportLoginToken(signIn, password);
    if (!("token" in exported)) return exported;
    const { token, expiresAt } = exported;
    const shown = signIn.ask(() => show(`tg://login?token=${token.toString("base64url")}`, expiresAt));
    const left = expiresAt - signIn.clock.now();
    const shownMs = Math.min(LONGEST_MS, Math.max(SHORTEST_MS, left - RENEW_BEFORE_MS));
    const failed = shown.then(() => new Promise<never>(() => {}));
    await Promise.race([signIn.loginTokenAccepted(shownMs), failed]);
  }
}
