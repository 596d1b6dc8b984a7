/** Entry point `telegram-session-pool/login`: signing accounts in. */
export { LoginError, type LoginErrorCode } from "../errors.js";
export {
  type CommonPrompts,
  type LoginOptions,
  type LoginPrompts,
  type LoginResult,
  login,
  type PhonePrompts,
  type QrPrompts,
} from "./login.js";
export type { PasswordPrompt } from "./password.js";
export type { CodeAnswer, CodePrompt, PhonePrompt, SentCode } from "./phone-code.js";
export type { QrPrompt } from "./qr-code.js";
