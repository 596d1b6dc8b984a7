import type { ClientAdapter, ClientHandle, FloodWait } from "telegram-session-pool/adapter";

/**
 * A client that connects nothing: what is measured is the pool. A class, as real ones are: to V8 every object literal
 * with a getter is of a kind of its own, and reading such a field of many of them is as slow as a lease.
 */
class NothingHandle implements ClientHandle<object> {
  readonly #client = {};

  async connect(): Promise<void> {}

  guard(): object {
    return this.#client;
  }

  floodError({ seconds }: FloodWait): Error {
    return new Error(`FLOOD_WAIT_${seconds}`);
  }

  async close(): Promise<void> {}
}

export const nothing: ClientAdapter<object> = {
  open: async () => {},
  create: () => new NothingHandle(),
  invoke: async () => undefined,
};
