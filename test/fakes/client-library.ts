/**
 * The Telegram library that the scenarios run over, by the types of GramJS: what they use of it is the same in
 * teleproto. Which one it is says the vitest project.
 */
import type { TelegramClient as GramjsClient } from "telegram";
import { loadGramjs } from "../../adapters/client/gramjs/library.js";
import { type GramjsOptions, gramjs } from "../../adapters/client/gramjs.js";
import type { Library } from "../../adapters/client/mtproto/library.js";
import { loadTeleproto } from "../../adapters/client/teleproto/library.js";
import { teleproto } from "../../adapters/client/teleproto.js";
import type { ClientAdapter } from "../../src/adapter.js";
import type { LibraryName } from "../../src/testing/index.js";

const modulesOf = {
  telegram: async () => ({
    root: await import("telegram"),
    sessions: await import("telegram/sessions/index.js"),
    events: await import("telegram/events/index.js"),
    uploads: await import("telegram/client/uploads.js"),
    extensions: await import("telegram/extensions/index.js"),
    crypto: await import("telegram/crypto/AuthKey.js"),
    state: await import("telegram/network/MTProtoState.js"),
  }),
  teleproto: async () => ({
    root: await import("teleproto"),
    sessions: await import("teleproto/sessions/index.js"),
    events: await import("teleproto/events/index.js"),
    uploads: await import("teleproto/client/uploads.js"),
    extensions: await import("teleproto/extensions/index.js"),
    crypto: await import("teleproto/crypto/AuthKey.js"),
    state: await import("teleproto/network/MTProtoState.js"),
  }),
};

export const libraryName: LibraryName = process.env.TELEGRAM_LIBRARY === "teleproto" ? "teleproto" : "telegram";

const modules = (await modulesOf[libraryName]()) as unknown as Awaited<ReturnType<(typeof modulesOf)["telegram"]>>;

type Root = typeof import("telegram");
type Events = typeof import("telegram/events/index.js");
type Extensions = typeof import("telegram/extensions/index.js");

const { root, sessions, events, uploads, extensions, crypto, state } = modules;

export const Api: Root["Api"] = root.Api;
export const TelegramClient: Root["TelegramClient"] = root.TelegramClient;
export const errors: Root["errors"] = root.errors;
export const StringSession: typeof import("telegram/sessions/index.js").StringSession = sessions.StringSession;
export const NewMessage: Events["NewMessage"] = events.NewMessage;
export const NewMessageEvent: Events["NewMessageEvent"] = events.NewMessageEvent;
export const Raw: Events["Raw"] = events.Raw;
export const CustomFile: typeof import("telegram/client/uploads.js").CustomFile = uploads.CustomFile;
export const BinaryReader: Extensions["BinaryReader"] = extensions.BinaryReader;
export const BinaryWriter: Extensions["BinaryWriter"] = extensions.BinaryWriter;
export const Logger: Extensions["Logger"] = extensions.Logger;
export const PromisedNetSockets: Extensions["PromisedNetSockets"] = extensions.PromisedNetSockets;
export const AuthKey: typeof import("telegram/crypto/AuthKey.js").AuthKey = crypto.AuthKey;
export const MTProtoState: typeof import("telegram/network/MTProtoState.js").MTProtoState = state.MTProtoState;

/** The library as the adapter takes it. */
export const loadUnderTest: () => Promise<Library> = libraryName === "telegram" ? loadGramjs : loadTeleproto;

/** The client adapter for the library. */
export function telegramAdapter(options: GramjsOptions): ClientAdapter<GramjsClient> {
  if (libraryName === "telegram") return gramjs(options);
  return teleproto(options as never) as unknown as ClientAdapter<GramjsClient>;
}
