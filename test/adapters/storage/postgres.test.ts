import { randomUUID } from "node:crypto";
import { inspect } from "node:util";
import pg from "pg";
import postgresJs from "postgres";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type PostgresClient, postgres } from "../../../adapters/storage/postgres.js";
import { OptionsError, StorageCorruptError, StorageError } from "../../../src/errors.js";
import type { SessionStorage } from "../../../src/records/storage.js";
import { testSessionStorage } from "../../../src/testing/storage-contract.js";
import { isServerThere } from "./servers.js";

const url = process.env.POSTGRES_URL ?? "postgres://postgres@127.0.0.1:5432/test";
const isThere = await isServerThere("Postgres", url);

test.each([
  ["no client", undefined, {}],
  ["a client without query", {}, {}],
  ["an unknown option", { query: () => undefined }, { tabel: "a" }],
  ["a table with a quote", { query: () => undefined }, { table: 'a"b' }],
  ["a table with two dots", { query: () => undefined }, { table: "a.b.c" }],
])("postgres() - %s is an OptionsError", (_, client, options) => {
  expect(() => postgres(client as PostgresClient, options as object)).toThrow(OptionsError);
});

test("write() - a client's error loses its parameters", async () => {
  const detail = "Key (data)=(canary-1BVtsOKABu)";
  const failure = Object.assign(new Error("bad canary-1BVtsOKABu"), { code: "XX001", detail });
  const query = async (_: string, values: readonly unknown[]) => {
    if (values.length > 0) throw failure;
    return { rows: [{ found: true }] };
  };
  const storage = postgres({ query });
  await storage.open?.();
  const error: unknown = await storage.write("a", 0, "canary-1BVtsOKABu").catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(StorageCorruptError);
  expect(inspect(error, { depth: 9, showHidden: true })).not.toContain("canary-1BVtsOKABu");
});

test("list(), read(), write() - before open nothing is sent", async () => {
  const storage = postgres({ query: () => Promise.reject(new Error("sent")) });
  for (const call of [storage.list(), storage.read("a"), storage.write("a", 0, "one")]) {
    await expect(call).rejects.toThrow("not open");
  }
});

test("watch() - needs a client that can listen", () => {
  expect(postgres({ query: () => undefined }).watch).toBe(undefined);
  expect(postgres(new pg.Pool({ max: 1 })).watch).toBe(undefined);
  expect(postgres(new pg.Pool({ max: 2 })).watch).toBeTypeOf("function");
});

describe.skipIf(!isThere)("on a server", () => {
  /** A schema of this run alone, gone with all its tables afterwards. */
  const schema = `test_${randomUUID().replaceAll("-", "")}`;
  const pool = new pg.Pool({ connectionString: url, max: 8, application_name: schema });
  const sql = postgresJs(url, { max: 8, onnotice: () => {} });
  let tables = 0;

  beforeAll(() => pool.query(`CREATE SCHEMA ${schema}`));

  afterAll(async () => {
    await pool.query(`DROP SCHEMA ${schema} CASCADE`);
    await pool.end();
    await sql.end();
  });

  function newTable(): string {
    tables += 1;
    return `${schema}.T${tables}`;
  }

  for (const [name, client] of [
    ["postgres by pg", pool],
    ["postgres by postgres.js", sql],
  ] as const) {
    const tableOf = new WeakMap<SessionStorage, string>();
    const storageAt = (table: string): SessionStorage => {
      const storage = postgres(client, { table });
      tableOf.set(storage, table);
      return storage;
    };

    testSessionStorage({
      test,
      expect,
      name,
      open: () => storageAt(newTable()),
      reopen: (storage) => storageAt(tableOf.get(storage) ?? ""),
      corrupt: async (storage) => {
        const [, table] = (tableOf.get(storage) ?? "").split(".");
        await pool.query(`ALTER TABLE ${schema}."${table}" RENAME data TO lost`);
      },
    });

    test(`${name}: open() - eight at once on a new table`, async () => {
      const table = newTable();
      const storages = Array.from({ length: 8 }, () => storageAt(table));
      await Promise.all(storages.map((storage) => storage.open?.()));
      const versions = await Promise.all(storages.map((storage) => storage.write("a", 0, "one")));
      expect(versions.filter((version) => version !== undefined)).toEqual([1]);
    });

    test(`${name}: peers - one peer twice in a batch counts once, as the last`, async () => {
      const storage = storageAt(newTable());
      await storage.open?.();
      await storage.peers?.save("a", [
        { id: "1", accessHash: "1" },
        { id: "2", accessHash: "2" },
        { id: "1", accessHash: "3" },
      ]);
      expect(await storage.peers?.load("a")).toEqual([
        { id: "2", accessHash: "2" },
        { id: "1", accessHash: "3" },
      ]);
    });
  }

  test("watch() - a message of somebody else's is nobody's", async () => {
    const storage = postgres(pool, { table: newTable() });
    await storage.open?.();
    const heard: string[] = [];
    storage.watch?.((id) => heard.push(id));
    const other = postgres(pool, { table: newTable() });
    await other.open?.();
    for (let round = 0; round < 10; round += 1) {
      await pool.query("SELECT pg_notify('telegram_session_pool', $1)", [round % 2 ? "junk" : '["a","b",c"]']);
      await other.write(`${round}`, 0, "one");
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(heard).toEqual([]);
    await storage.close?.();
    expect(pool.totalCount).toBe(pool.idleCount);
  });

  test("watch() - listens again after its connection was cut", async () => {
    const table = newTable();
    const storage = postgres(pool, { table });
    const other = postgres(pool, { table });
    await storage.open?.();
    await other.open?.();
    const heard = new Set<string>();
    storage.watch?.((id) => heard.add(id));
    const hear = async (id: string): Promise<void> => {
      let version = 0;
      for (let attempt = 0; attempt < 300 && !heard.has(id); attempt += 1) {
        version = (await other.write(id, version, "one")) ?? version;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      expect(heard).toContain(id);
    };
    await hear("before");
    await pool.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND query LIKE 'LISTEN%'",
      [schema],
    );
    await hear("after");
    await storage.close?.();
  });

  test("open() - another table of that name is refused", async () => {
    const table = newTable();
    const [, name] = table.split(".");
    await pool.query(`CREATE TABLE ${schema}."${name}" (theirs int)`);
    await expect(postgres(pool, { table }).open?.()).rejects.toBeInstanceOf(StorageError);
  });
});
