/** A function whose parameters are nobody's business here: so the clients' own, unlike types fit without a cast. */
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

/** Runs one statement, by itself a transaction. */
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
