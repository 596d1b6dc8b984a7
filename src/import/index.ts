/**
 * Entry point `telegram-session-pool/import`: accounts out of the files of other programs.
 */
export type {
  AccountFormat,
  FoundAccount,
  FoundPeer,
  ReadAccount,
  UnreadableAccount,
} from "./found-account.js";
export { AccountFileError } from "./found-account.js";
export {
  type AccountPool,
  type ImportAccountsOptions,
  type ImportedAccount,
  type ImportProgress,
  type ImportReport,
  importAccounts,
  type RefusedAccount,
} from "./import-accounts.js";
export { type ReadAccountsOptions, readAccounts } from "./read-accounts.js";
