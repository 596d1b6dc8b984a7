import { OptionsError, StorageError } from "../../src/errors.js";
import { assertKnownOptions } from "../../src/options/validators.js";
import type {
  PeerField,
  PeerStorage,
  RecordWrite,
  SessionStorage,
  StoredRecord,
  WriteResult,
} from "../../src/storage/storage.js";
import { ClientErrors } from "./client-errors.js";
import { ChangeNotifier, createListener, type PostgresClient, query, type Row } from "./postgres/postgres-client.js";
import { postgresPeers, type Statements, statementsFor } from "./postgres/statements.js";
import { writeBatch } from "./sql-batch.js";
import { fields, toRecords } from "./sql-rows.js";
import { codeOf, toStorageError } from "./to-storage-error.js";

export type { PgClient, PostgresClient, PostgresJsClient } from "./postgres/postgres-client.js";

/** Options of {@link postgres}. */
export interface PostgresOptions {
  /** The table, perhaps with its schema: `"app.sessions"`. Peers go into one more, `_peers`. @default "telegram_session_pool" */
  readonly table?: string;
}

/** Error codes for a process that creates the same table at the same time as another one. */
const DUPLICATE_CODES = ["23505", "42P07", "42710"];
/** Data exception, transaction rollback, program limit exceeded: the statement has changed nothing. */
const REFUSAL_CLASSES = /^(22|40|54)\w{3}$/;
const INSUFFICIENT_PRIVILEGE = "42501";
/** data_corrupted, index_corrupted. */
const CORRUPTION_CODES = ["XX001", "XX002"];

/**
 * Keeps records in Postgres, for any number of processes on any number of hosts: the safest of the shared storages.
 *
 * One statement per write, or per up to 500 writes of one moment, durable when it resolves (unless the database runs with `synchronous_commit = off`); `list`
 * is one SELECT. `open` creates the two tables where they are missing. With a pool of `pg`, or postgres.js, LISTEN on one
 * more connection reports the writes of other processes. The client stays the caller's: `close` does not end it. While the
 * storage is open it listens to the client's `error` events, so that a restart of the server does not end the process. A
 * deleted record leaves its id and version.
 *
 * @throws `OptionsError` for a wrong argument.
 */
export function postgres(client: PostgresClient, options: PostgresOptions = {}): SessionStorage {
  const isClient = client !== null && (typeof client === "object" || typeof client === "function");
  if (!isClient || !("query" in client || "unsafe" in client)) {
    throw new OptionsError(
      "postgres() expects a Pool of pg, the sql of postgres.js, or anything with query(text, values): postgres(new pg.Pool({ connectionString })).",
    );
  }
  assertKnownOptions("postgres()", options, ["table"]);
  const { table = "telegram_session_pool" } = options;
  if (typeof table !== "string" || !/^([a-z_]\w{0,47}\.)?[a-z_]\w{0,47}$/i.test(table)) {
    throw new OptionsError(
      "postgres() expects a table of letters, digits and _, up to 48, perhaps with a schema and a dot.",
    );
  }
  return new PostgresStorage(client, table);
}

class PostgresStorage implements SessionStorage {
  readonly shared = true;
  readonly peers: PeerStorage;
  readonly watch?: NonNullable<SessionStorage["watch"]>;
  readonly #client: PostgresClient;
  readonly #statements: Statements;
  readonly #changes: ChangeNotifier;
  readonly #errors: ClientErrors;
  #isOpen = false;

  constructor(client: PostgresClient, table: string) {
    this.#client = client;
    this.#statements = statementsFor(table);
    this.#changes = new ChangeNotifier(table);
    this.#errors = new ClientErrors(client, "A connection to Postgres failed");
    this.peers = postgresPeers(
      this.#statements,
      (...statement) => this.#run(...statement),
      (field) => this.#createPeerIndex(field),
    );
    const listen = createListener(client);
    if (listen === undefined) return;
    this.watch = (changed, failed = () => {}, listening = () => {}) => {
      const silence = this.#errors.report(failed);
      const stop = this.#changes.watch(listen, changed, failed, listening);
      return () => {
        silence();
        stop();
      };
    };
  }

  async open(): Promise<void> {
    this.#isOpen = true;
    this.#errors.open();
    try {
      await this.#prepare();
    } catch (error) {
      this.#isOpen = false;
      this.#errors.close();
      throw error;
    }
  }

  async #prepare(): Promise<void> {
    const [answer] = await this.#run(this.#statements.find);
    if (!isTrue(fields(answer ?? [])[0]))
      for (const statement of this.#statements.create) await this.#create(statement);
    await this.#run(this.#statements.check);
  }

  async list(): Promise<readonly StoredRecord[]> {
    return toRecords(await this.#run(this.#statements.list));
  }

  async read(id: string): Promise<StoredRecord | undefined> {
    return toRecords(await this.#run(this.#statements.read, id))[0];
  }

  async write(id: string, expected: number, data: string | null): Promise<number | undefined> {
    if (expected === 0 && data === null) return undefined;
    const payload = this.#changes.payloadFor(id);
    const { insert, replace } = this.#statements;
    const parameters = expected === 0 ? [id, data, payload] : [id, data, payload, expected];
    const [row] = await this.#run(expected === 0 ? insert : replace, ...parameters);
    return row && Number(fields(row)[0]);
  }

  writeMany(writes: readonly RecordWrite[]): Promise<readonly WriteResult[]> {
    const { insertMany, replaceMany } = this.#statements;
    const run = (statement: string, rows: readonly RecordWrite[]): Promise<readonly Row[]> => {
      const given = rows.map((row) => ({ ...row, payload: this.#changes.payloadFor(row.id) }));
      return this.#run(statement, JSON.stringify(given));
    };
    return writeBatch(writes, {
      create: (rows) => run(insertMany, rows),
      replace: (rows) => run(replaceMany, rows),
      write: ({ id, expected, data }) => this.write(id, expected, data),
      isRefusal: (error) => error instanceof Error && REFUSAL_CLASSES.test(String(codeOf(error.cause))),
    });
  }

  async close(): Promise<void> {
    this.#isOpen = false;
    await this.#changes.close();
    this.#errors.close();
  }

  /** Once more when another process was creating the same table: then there is nothing left to do. */
  async #create(statement: string): Promise<void> {
    try {
      await this.#run(statement);
    } catch (error) {
      if (!(error instanceof Error) || !DUPLICATE_CODES.includes(String(codeOf(error.cause)))) throw error;
      await this.#run(statement);
    }
  }

  /** Without the right to create one, which is that of the table's owner, the table is searched without an index. */
  async #createPeerIndex(field: PeerField): Promise<void> {
    const { find, create } = this.#statements.peerIndexes[field];
    const [answer] = await this.#run(find);
    if (isTrue(fields(answer ?? [])[0])) return;
    try {
      await this.#create(create);
    } catch (error) {
      if (!(error instanceof Error) || String(codeOf(error.cause)) !== INSUFFICIENT_PRIVILEGE) throw error;
    }
  }

  async #run(statement: string, ...parameters: readonly (string | number | null)[]): Promise<readonly Row[]> {
    if (!this.#isOpen) throw new StorageError("The Postgres storage is not open.");
    try {
      return await query(this.#client, statement, parameters);
    } catch (error) {
      const isCorrupt = CORRUPTION_CODES.includes(String(codeOf(error)));
      throw toStorageError("Postgres failed", error, { secrets: parameters, isCorrupt });
    }
  }
}

/** A client may be configured to leave booleans as the text that Postgres sends. */
function isTrue(value: unknown): boolean {
  return value === true || value === "t";
}
