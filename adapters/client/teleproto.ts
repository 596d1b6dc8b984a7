import type { TelegramClient } from "teleproto";
import type { TelegramClientParams } from "teleproto/client/telegramBaseClient.js";
import type { ClientAdapter } from "../../src/connections/client-adapter.js";
import { type AdapterOptions, mtprotoAdapter } from "./mtproto/adapter.js";
import { loadTeleproto } from "./teleproto/library.js";

/** Options of {@link teleproto}. */
export type TeleprotoOptions = AdapterOptions<TelegramClient, TelegramClientParams>;

/**
 * The client adapter for teleproto, the maintained fork of GramJS: a peer dependency that is imported when a pool opens.
 * Throws `OptionsError` when an option is missing or wrong; so does opening the pool when the package is missing or of a version
 * that this adapter does not know.
 */
export function teleproto(options: TeleprotoOptions): ClientAdapter<TelegramClient> {
  return mtprotoAdapter("teleproto", "teleproto", options, loadTeleproto);
}
