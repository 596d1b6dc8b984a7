import type PostgresJsModule from "postgres";
import { postgres } from "../../../adapters/storage/postgres.js";
import { ANSWER_TIMEOUT_MS, answered } from "../answering.js";
import { CommandError } from "../command.js";
import { importFirst, type NamedStorage, printableUrl } from "../storage-url.js";

/** A client, whichever package it is of. */
interface Connected {
  readonly client: Parameters<typeof postgres>[0];
  /** Resolves the first column of the first row. */
  ask(statement: string): Promise<unknown>;
  end(): Promise<void>;
}

/** The storage of a `postgres://` URL; `?table=` is its table. */
export async function findPostgres(url: URL, signal: AbortSignal): Promise<NamedStorage> {
  const table = url.searchParams.get("table");
  url.searchParams.delete("table");
  const name = printableUrl(url);
  const [, connect] = await importFirst("A Postgres storage", [
    ["pg", async () => connectPg(await import("pg"))],
    ["postgres", async () => connectPostgresJs((await import("postgres")).default)],
  ]);
  const { client, ask, end } = connect(url.href);
  try {
    await answered(ask("SELECT 1"), { signal, timeoutMs: ANSWER_TIMEOUT_MS });
  } catch (error) {
    void end().catch(() => {});
    signal.throwIfAborted();
    throw new CommandError(`${name} cannot be reached: ${reasonOf(error)}.`);
  }
  return { kind: "postgres", name, storage: postgres(client, table === null ? {} : { table }), ask, end };
}

type PostgresJs = typeof PostgresJsModule;

type Connect = (url: string) => Connected;

function connectPg({ default: pg }: typeof import("pg")): Connect {
  return (connectionString) => {
    const pool = new pg.Pool({ connectionString, connectionTimeoutMillis: ANSWER_TIMEOUT_MS });
    pool.on("error", () => {});
    const ask = async (statement: string): Promise<unknown> => {
      const { rows } = await pool.query<Record<string, unknown>>(statement);
      return Object.values(rows[0] ?? {})[0];
    };
    return { client: pool, ask, end: () => pool.end() };
  };
}

function connectPostgresJs(connect: PostgresJs): Connect {
  return (url) => {
    const sql = connect(url, { connect_timeout: ANSWER_TIMEOUT_MS / 1000, onnotice: () => {} });
    const ask = async (statement: string): Promise<unknown> => {
      const [row] = await sql.unsafe(statement);
      return Object.values(row ?? {})[0];
    };
    return { client: sql, ask, end: () => sql.end() };
  };
}

/** Telegram is not involved: what the server or the system says, which names no password. */
function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return message === "" && code !== undefined ? code : message;
}
