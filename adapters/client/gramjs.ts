import type { TelegramClient } from "telegram";
import type { TelegramClientParams } from "telegram/client/telegramBaseClient.js";
import type { ClientAdapter } from "../../src/connections/client-adapter.js";
import { loadGramjs } from "./gramjs/library.js";
import { type AdapterOptions, mtprotoAdapter } from "./mtproto/adapter.js";

/** Options of {@link gramjs}. */
export type GramjsOptions = AdapterOptions<TelegramClient, TelegramClientParams>;

/**
 * The client adapter for GramJS (`telegram` on npm), a peer dependency that is imported when a pool opens. Throws
 * `OptionsError` when an option is missing or wrong; so does opening the pool when the package is missing or of a version
 * that this adapter does not know.
 */
export function gramjs(options: GramjsOptions): ClientAdapter<TelegramClient> {
  return mtprotoAdapter("gramjs", "GramJS", options, loadGramjs);
}
