import type { ClientAdapter } from "telegram-session-pool";

/** A client adapter that connects nothing: what is measured is the pool. */
export const nothing: ClientAdapter<object> = {
  open: async () => {},
  create: () => {
    const client = {};
    let isConnected = false;
    return {
      get isConnected() {
        return isConnected;
      },
      connect: async () => {
        isConnected = true;
      },
      guard: () => client,
      floodError: ({ seconds }) => new Error(`FLOOD_WAIT_${seconds}`),
      close: async () => {
        isConnected = false;
      },
    };
  },
  invoke: async () => undefined,
};
