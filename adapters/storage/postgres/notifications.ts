import type { PostgresClient } from "./postgres-client.js";

/** Where all tables' changes are told; each message says which table it is about. */
export const CHANNEL = "telegram_session_pool";

const RECONNECT_MS = 1_000;

/** What is used of `pg`'s Pool. */
interface PgPool {
  readonly options?: { readonly max?: number };
  connect(): Promise<PgPoolClient>;
}

interface PgPoolClient {
  on(event: "notification", listener: (message: { readonly payload?: string }) => void): unknown;
  on(event: "error" | "end", listener: () => void): unknown;
  query(statement: string): Promise<unknown>;
  release(isBroken: boolean): void;
  unref?(): void;
}

/** What is used of postgres.js. */
interface PostgresJs {
  listen(channel: string, listener: (payload: string) => void): Promise<{ unlisten(): Promise<unknown> }>;
}

/** Listens, and returns the function that ends it. */
export type Listen = (onPayload: (payload: string) => void) => () => Promise<void>;

/**
 * How this client can listen, `undefined` when it cannot: a pool of `pg` with more than one connection gives one of
 * them, postgres.js opens its own. What is told while the connection is cut is missed; both connect again.
 */
export function listenerFor(client: PostgresClient): Listen | undefined {
  if ("listen" in client) return (onPayload) => listenWithPostgresJs(client as unknown as PostgresJs, onPayload);
  if (!("totalCount" in client && "connect" in client)) return undefined;
  const pool = client as unknown as PgPool;
  return (pool.options?.max ?? 1) > 1 ? (onPayload) => new PoolListener(pool, onPayload).start() : undefined;
}

function listenWithPostgresJs(sql: PostgresJs, onPayload: (payload: string) => void): () => Promise<void> {
  const listening = sql.listen(CHANNEL, onPayload).catch(() => undefined);
  return async () => {
    await (await listening)?.unlisten().catch(() => undefined);
  };
}

class PoolListener {
  readonly #pool: PgPool;
  readonly #onPayload: (payload: string) => void;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;
  #end: () => void = () => {};
  #running: Promise<void> = Promise.resolve();

  constructor(pool: PgPool, onPayload: (payload: string) => void) {
    this.#pool = pool;
    this.#onPayload = onPayload;
  }

  start(): () => Promise<void> {
    this.#connect();
    return async () => {
      this.#isStopped = true;
      clearTimeout(this.#timer);
      this.#end();
      await this.#running;
    };
  }

  #connect(): void {
    this.#running = this.#listen()
      .catch(() => {})
      .then(() => {
        if (!this.#isStopped) this.#timer = setTimeout(() => this.#connect(), RECONNECT_MS).unref();
      });
  }

  /** Resolves when the connection is gone. */
  async #listen(): Promise<void> {
    const client = await this.#pool.connect();
    const isGone = new Promise<void>((resolve) => client.on("end", resolve));
    client.on("error", () => {});
    client.on("notification", ({ payload = "" }) => this.#onPayload(payload));
    // A connection that listens MUST NOT go back into the pool: it is closed instead.
    this.#end = () => {
      this.#end = () => {};
      client.release(true);
    };
    client.on("end", () => this.#end());
    if (this.#isStopped) this.#end();
    else await client.query(`LISTEN "${CHANNEL}"`).catch(() => this.#end());
    client.unref?.();
    await isGone;
  }
}
