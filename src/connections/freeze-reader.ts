import { inOwnContext } from "../common/own-context.js";
import type { PoolContext } from "../pool-context.js";
import type { PooledSession } from "../state/pooled-session.js";
import type { SessionRegistry } from "../state/session-registry.js";
import type { SessionStateManager } from "../state/session-state-manager.js";
import { readFreeze } from "../telegram/account-answers.js";
import type { Connection } from "./connection.js";
import { sendOwnRequest } from "./own-request.js";

/**
 * Reads when a freeze ends, once, on the connection on which Telegram has refused a request for it: one
 * `help.getAppConfig`, and no connect. Without an answer the session stays restricted without an end. An answer that names
 * no freeze lifts nothing: the refusal is as new, and proves it.
 */
export class FreezeReader<Client> {
  readonly #context: PoolContext<Client>;
  readonly #sessionState: SessionStateManager;

  constructor(context: PoolContext<Client>, registry: SessionRegistry, sessionState: SessionStateManager) {
    this.#context = context;
    this.#sessionState = sessionState;
    context.events.on("frozen", (id) => {
      const known = registry.get(id);
      const connection = known?.connection;
      if (known === undefined || connection === undefined || !connection.isConnected) return;
      // All connections of sessions are clients of this pool's adapter.
      inOwnContext(() => void this.#read(known, connection as Connection<Client>));
    });
  }

  async #read(known: PooledSession, connection: Connection<Client>): Promise<void> {
    const { client } = this.#context.options;
    try {
      const freeze = readFreeze(await sendOwnRequest(client, connection, "help.GetAppConfig", { hash: 0 }));
      if (freeze && known.isFrozen && connection.hasCurrentKey) this.#sessionState.freeze(known, freeze.until);
    } catch {
      // Unknown, as before. An error that concerns the session was applied where it was received.
    }
  }
}
