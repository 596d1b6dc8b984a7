import type { TelegramClient } from "telegram";
import type { TelegramClientParams } from "telegram/client/telegramBaseClient.js";
import type { ClientAdapter, ClientHandle, ClientRequest } from "../../src/connections/client-adapter.js";
import { OptionsError } from "../../src/errors.js";
import { type ClientKit, makeKit } from "./gramjs/client.js";
import { GramjsHandle } from "./gramjs/handle.js";
import { loadLibrary } from "./gramjs/library.js";

/** How the pool makes its GramJS clients. */
export interface GramjsOptions {
  /** From my.telegram.org. A session's profile may name its own. */
  readonly apiId: number;
  /** From my.telegram.org. A session's profile may name its own. */
  readonly apiHash: string;
  /**
   * GramJS's own `TelegramClientParams`. The pool decides over retries, reconnects, the flood threshold and, unless
   * `baseLogger` is given, silence. @default {}
   */
  readonly clientOptions?: TelegramClientParams | undefined;
  /** Called once for each client when it has first connected: the place for lasting event handlers. */
  readonly onConnect?: ((client: TelegramClient, id: string) => void | Promise<void>) | undefined;
}

const KNOWN: ReadonlySet<string> = new Set(["apiId", "apiHash", "clientOptions", "onConnect"]);

/**
 * The client adapter for GramJS (`telegram` on npm), a peer dependency that is imported when a pool opens. Throws
 * `OptionsError` when an option is missing or wrong.
 */
export function gramjs(options: GramjsOptions): ClientAdapter<TelegramClient> {
  check(options);
  let kit: ClientKit | undefined;
  return {
    open: async () => {
      kit ??= makeKit(await loadLibrary());
    },
    create: (request: ClientRequest): ClientHandle<TelegramClient> => {
      if (kit === undefined) throw new OptionsError("gramjs: open() has to come before create().");
      const { apiId, apiHash, clientOptions = {}, onConnect } = options;
      return new GramjsHandle(kit, { apiId, apiHash, clientOptions, onConnect }, request);
    },
    invoke: (client, request) => client.invoke(request as never),
  };
}

function check(options: GramjsOptions): void {
  if (typeof options !== "object" || options === null) {
    throw new OptionsError("gramjs: expected { apiId, apiHash }, both from my.telegram.org.");
  }
  for (const key of Object.keys(options)) {
    if (!KNOWN.has(key))
      throw new OptionsError(`gramjs: unknown option "${key}". Known options: ${[...KNOWN].join(", ")}.`);
  }
  if (!Number.isInteger(options.apiId) || options.apiId <= 0) {
    throw new OptionsError("gramjs: apiId must be a whole number, more than 0, from my.telegram.org.");
  }
  if (typeof options.apiHash !== "string" || options.apiHash === "") {
    throw new OptionsError("gramjs: apiHash must be a non-empty string from my.telegram.org.");
  }
  if (
    options.clientOptions !== undefined &&
    (typeof options.clientOptions !== "object" || options.clientOptions === null)
  ) {
    throw new OptionsError("gramjs: clientOptions must be an object of GramJS's TelegramClientParams.");
  }
  if (options.onConnect !== undefined && typeof options.onConnect !== "function") {
    throw new OptionsError("gramjs: onConnect must be a function of the client and the session's id.");
  }
}
