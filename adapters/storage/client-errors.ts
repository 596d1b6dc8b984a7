import { toStorageError } from "./to-storage-error.js";

interface Emitter {
  on(event: "error", listener: (error: unknown) => void): unknown;
  off(event: "error", listener: (error: unknown) => void): unknown;
}

interface Listening {
  readonly storages: Set<ClientErrors>;
  readonly listener: (error: unknown) => void;
}

/** The listeners of clients with an open storage: one serves all storages of its client. */
const listening = new WeakMap<object, Listening>();

/**
 * Errors within this time are one outage: a pool of connections emits one for each. By the system's clock: the contract of a
 * storage has none, and an outage of a server follows no injected clock.
 */
const ONE_OUTAGE_MS = 1_000;

/**
 * Listens to the `error` events of a client while a storage on it is open. A server that restarts makes clients emit
 * them for idle connections, and Node.js ends a process in which nothing listens.
 */
export class ClientErrors {
  readonly #client: object;
  readonly #sentence: string;
  /** Bounded by the watches that have not been stopped. */
  readonly #reports = new Set<(error: Error) => void>();
  #reportedAt = Number.NEGATIVE_INFINITY;

  /** `sentence`: precedes the client's own message. */
  constructor(client: object, sentence: string) {
    this.#client = client;
    this.#sentence = sentence;
  }

  open(): void {
    if (!isEmitter(this.#client)) return;
    const known = listening.get(this.#client);
    if (known !== undefined) {
      known.storages.add(this);
      return;
    }
    const storages = new Set([this as ClientErrors]);
    const listener = (error: unknown): void => {
      for (const storage of storages) storage.#onError(error);
    };
    this.#client.on("error", listener);
    listening.set(this.#client, { storages, listener });
  }

  close(): void {
    const known = listening.get(this.#client);
    if (known?.storages.delete(this) !== true || known.storages.size > 0) return;
    listening.delete(this.#client);
    if (isEmitter(this.#client)) this.#client.off("error", known.listener);
  }

  /** Calls `failed` with each error until the returned function is called. */
  report(failed: (error: Error) => void): () => void {
    const report = (error: Error): void => failed(error);
    this.#reports.add(report);
    return () => this.#reports.delete(report);
  }

  #onError(error: unknown): void {
    const now = performance.now();
    if (now - this.#reportedAt < ONE_OUTAGE_MS) return;
    this.#reportedAt = now;
    const failure = toStorageError(this.#sentence, error);
    for (const report of this.#reports) report(failure);
  }
}

function isEmitter(client: object): client is Emitter {
  return "on" in client && typeof client.on === "function" && "off" in client && typeof client.off === "function";
}
