import { randomUUID } from "node:crypto";
import { connect, type Socket } from "node:net";
import { KeptWatch, type Subscribe, type WatchSignals } from "../kept-watch.js";

/** A function with any parameters, so that the differing types of the clients fit without a cast. */
type AnyFunction = (...parameters: never[]) => unknown;

/** `pg`'s Pool or Client, or anything with its `query(text, values)` that resolves `{ rows }`. */
export interface PgClient {
  readonly query: AnyFunction;
}

/** The `sql` of `postgres` (postgres.js). */
export interface PostgresJsClient {
  readonly unsafe: AnyFunction;
}

/** A client for Postgres. */
export type PostgresClient = PgClient | PostgresJsClient;

/** One row, by column name. */
export type Row = Readonly<Record<string, unknown>>;

/** Runs one statement, as a transaction of its own. */
export async function query(
  client: PostgresClient,
  statement: string,
  parameters: readonly (string | number | null)[],
): Promise<readonly Row[]> {
  const run = "unsafe" in client ? client.unsafe : client.query;
  const result: unknown = await Reflect.apply(run, client, [statement, [...parameters]]);
  const rows = Array.isArray(result) ? result : Object(result).rows;
  if (!Array.isArray(rows)) throw new TypeError("The Postgres client did not resolve rows.");
  return rows;
}

/** The channel for the changes of all tables; each message names its table. */
export const CHANNEL = "telegram_session_pool";

/** The methods used of `pg`'s Pool. */
interface PgPool {
  readonly options?: { readonly max?: number };
  connect(): Promise<PgPoolClient>;
}

interface PgPoolClient {
  on(event: "notification", listener: (message: { readonly payload?: string }) => void): unknown;
  on(event: "error" | "end", listener: (error?: unknown) => void): unknown;
  query(statement: string): Promise<unknown>;
  release(isBroken: boolean): void;
  unref?(): void;
}

/** Listens with the means the client offers. */
export type Listen = (onPayload: (payload: string) => void) => Subscribe;

/**
 * How this client can listen, `undefined` when it cannot: a pool of `pg` with more than one connection gives one of
 * them, postgres.js opens its own. Notifications sent while disconnected are lost.
 */
export function createListener(client: PostgresClient): Listen | undefined {
  if ("listen" in client) {
    const sql = client as unknown as PostgresJs;
    return (onPayload) => (signals) => listenWithPostgresJs(sql, onPayload, signals);
  }
  if (!("totalCount" in client && "connect" in client)) return undefined;
  const pool = client as unknown as PgPool;
  if ((pool.options?.max ?? 1) <= 1) return undefined;
  return (onPayload) => (signals) => listenWithPool(pool, onPayload, signals);
}

/** A connection that listens MUST NOT go back into the pool: it is closed instead. */
function listenWithPool(
  pool: PgPool,
  onPayload: (payload: string) => void,
  signals: WatchSignals,
): () => Promise<void> {
  let end = (): void => {};
  let isEnded = false;
  let hasConnection = false;
  const listen = async (): Promise<void> => {
    const client = await pool.connect();
    hasConnection = true;
    const isGone = new Promise<void>((resolve) => client.on("end", () => resolve()));
    let isReleased = false;
    end = () => {
      if (!isReleased) client.release(true);
      isReleased = true;
    };
    client.on("error", signals.lost);
    client.on("end", () => signals.lost(new Error("The connection has ended.")));
    client.on("notification", ({ payload = "" }) => onPayload(payload));
    client.unref?.();
    void isGone.then(end);
    if (isEnded) end();
    else await client.query(`LISTEN "${CHANNEL}"`).then(signals.works, signals.lost);
    await isGone;
  };
  const running = listen().catch(signals.lost);
  return async () => {
    isEnded = true;
    end();
    if (hasConnection) await running; // else the pool may keep it waiting for ever
  };
}

/** The methods used of postgres.js, whose `listen` manages its connection and channels itself. */
interface PostgresJs {
  readonly options?: { socket?: unknown };
  readonly listen: PostgresJsListen;
}

interface PostgresJsListen {
  (
    channel: string,
    listener: (payload: string) => void,
    listening: () => void,
  ): Promise<{ unlisten(): Promise<unknown> }>;
  sql?: { end(options: { timeout: number }): Promise<unknown> };
  readonly channels?: Record<string, unknown>;
}

/** How many watches each client of postgres.js serves. */
const watches = new WeakMap<PostgresJs, number>();

/** postgres.js restores a subscription that was established; only a failure of the first LISTEN is final. */
function listenWithPostgresJs(
  sql: PostgresJs,
  onPayload: (payload: string) => void,
  { works, lost }: WatchSignals,
): () => Promise<void> {
  watches.set(sql, (watches.get(sql) ?? 0) + 1);
  const listening = startListening(sql, onPayload, works);
  const entry = sql.listen.channels?.[CHANNEL];
  listening.catch((error: unknown) => {
    // postgres.js keeps the failure and would give it to every later call.
    if (entry !== undefined && sql.listen.channels?.[CHANNEL] === entry) delete sql.listen.channels[CHANNEL];
    lost(error);
  });
  return async () => {
    const others = (watches.get(sql) ?? 1) - 1;
    watches.set(sql, others);
    if (others === 0 && isOnlyChannel(sql.listen)) await closeConnection(sql.listen);
    else await (await listening).unlisten();
  };
}

/** Whether the application does not listen on the same connection. */
function isOnlyChannel({ sql, channels = {} }: PostgresJsListen): boolean {
  return sql !== undefined && Object.keys(channels).every((channel) => channel === CHANNEL);
}

/** postgres.js itself keeps the connection until the whole client ends, and the process alive with it. */
async function closeConnection(listen: PostgresJsListen): Promise<void> {
  const connection = listen.sql;
  // Before it ends: what is still listed is listened to again.
  delete listen.channels?.[CHANNEL];
  delete listen.sql;
  await connection?.end({ timeout: 1 });
}

/** Starts with a socket that does not keep the process alive, which `listen` takes over from the client's options. */
function startListening(
  sql: PostgresJs,
  onPayload: (payload: string) => void,
  works: () => void,
): ReturnType<PostgresJsListen> {
  const { options } = sql;
  if (options === undefined) return sql.listen(CHANNEL, onPayload, works);
  const { socket } = options;
  options.socket ??= socketMaker();
  try {
    return sql.listen(CHANNEL, onPayload, works);
  } finally {
    options.socket = socket;
  }
}

/** How postgres.js says where to connect. */
interface Address {
  readonly host: readonly string[];
  readonly port: readonly number[];
  readonly path?: string | false;
}

/** Sockets that do not keep the process alive, to each of several hosts in turn. */
function socketMaker(): (address: Address) => Socket {
  let attempts = 0;
  return ({ host, port, path }) => {
    const index = attempts++ % host.length;
    const socket = path ? connect(path) : connect(port[index] ?? 5432, host[index] ?? "localhost");
    return Object.assign(socket.unref(), { host: host[index] }); // the name for TLS
  };
}

/** Postgres refuses a message of 8000 bytes. */
const MAX_PAYLOAD_BYTES = 7_900;

/** Announces which record of the table this storage has changed, and receives the changes of others. */
export class ChangeNotifier {
  readonly #table: string;
  readonly #writer: string = randomUUID();
  /** Bounded by the number of pools: each has one watch. */
  readonly #stops = new Set<() => void>();
  /** Bounded by `#stops`. */
  readonly #stopping = new Set<Promise<void>>();

  constructor(table: string) {
    this.#table = table;
  }

  /** The message about a write; empty when the id is too long for one. */
  payloadFor(id: string): string {
    const payload = JSON.stringify([this.#writer, this.#table, id]);
    return Buffer.byteLength(payload) > MAX_PAYLOAD_BYTES ? "" : payload;
  }

  watch(
    listen: Listen,
    changed: (id: string) => void,
    failed: (error: Error) => void,
    listening: () => void,
  ): () => void {
    const subscribe = listen((payload) => {
      const id = this.#foreignId(payload);
      if (id !== undefined && this.#stops.has(stop)) changed(id);
    });
    const watch = new KeptWatch(subscribe, failed, listening);
    const stop = (): void => {
      if (!this.#stops.delete(stop)) return;
      const stopping = watch.stop().finally(() => this.#stopping.delete(stopping));
      this.#stopping.add(stopping);
    };
    this.#stops.add(stop);
    watch.start();
    return stop;
  }

  /** Stops every watch, and waits until their connections are closed. */
  async close(): Promise<void> {
    for (const stop of this.#stops) stop();
    await Promise.all(this.#stopping);
  }

  /** Any client may notify on a channel: ignores what is not a message about this table by another storage. */
  #foreignId(payload: string): string | undefined {
    const [table, writer] = [JSON.stringify(this.#table), JSON.stringify(this.#writer)];
    const parts = /^\[("[^"]*"),("[^"]*"),(".*")\]$/s.exec(payload);
    if (parts?.[1] === writer || parts?.[2] !== table) return undefined;
    try {
      return String(JSON.parse(parts[3] ?? ""));
    } catch {
      return undefined;
    }
  }
}
