import { randomUUID } from "node:crypto";
import { EventEmitter } from "node:events";
import { inspect } from "node:util";
import pg from "pg";
import postgresJs from "postgres";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { type PostgresClient, postgres } from "../../../adapters/storage/postgres.js";
import { OptionsError, StorageCorruptError, StorageError } from "../../../src/errors.js";
import type { SessionStorage } from "../../../src/storage/storage.js";
import { testSessionStorage } from "../../../src/testing/storage-contract.js";
import { isServerThere } from "./servers.js";

const url = process.env.POSTGRES_URL ?? "postgres://postgres@127.0.0.1:5432/test";
const isThere = await isServerThere("Postgres", url);

test.each([
  ["no client", undefined, {}],
  ["a client without query", {}, {}],
  ["an unknown option", { query: () => undefined }, { tabel: "a" }],
  ["no options", { query: () => undefined }, null],
  ["a text as options", { query: () => undefined }, "sessions"],
  ["an address", "postgres://localhost", {}],
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

test("watch() - a first LISTEN that fails is tried again, and reported once", async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  let listens = 0;
  const sql = {
    unsafe: async () => [{ found: true }],
    listen: async () => {
      listens += 1;
      throw new Error("sorry, too many clients already");
    },
  };
  const storage = postgres(sql as never);
  await storage.open?.();
  const failures: Error[] = [];
  const stop = storage.watch?.(
    () => {},
    (error) => failures.push(error),
  );
  await vi.advanceTimersByTimeAsync(5_000);
  expect(listens).toBe(3);
  expect(failures.map(({ message }) => message)).toEqual([expect.stringContaining("too many clients already")]);
  stop?.();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(listens).toBe(3);
  await storage.close?.();
});

test("open() - while it is open, an error of an idle connection ends nothing and is reported", async () => {
  const client = Object.assign(new EventEmitter(), {
    query: async () => ({ rows: [{ found: true }] }),
    totalCount: 0,
    connect: () => new Promise(() => {}),
    options: { max: 2 },
  });
  const [storage, other] = [postgres(client as never), postgres(client as never)];
  await Promise.all([storage.open?.(), other.open?.(), storage.open?.()]);
  expect(client.listenerCount("error")).toBe(1);
  const failures: Error[] = [];
  storage.watch?.(
    () => {},
    (error) => failures.push(error),
  );
  for (let connection = 0; connection < 10; connection += 1) client.emit("error", new Error("terminating connection"));
  expect(failures.map(({ message }) => message)).toEqual(["A connection to Postgres failed: terminating connection"]);
  expect(failures[0]).toBeInstanceOf(StorageError);
  await other.close?.();
  expect(client.listenerCount("error")).toBe(1);
});

test("write() - the message of an error keeps all its letters, whatever the id", async () => {
  const message = 'connect ECONNREFUSED 127.0.0.1:5999, relation "a" does not exist';
  const storage = postgres({
    query: async (_: string, values: readonly unknown[]) => {
      if (values.length > 0) throw new Error(message);
      return { rows: [{ found: true }] };
    },
  });
  await storage.open?.();
  for (const id of ["1", "a", "relation"]) {
    await expect(storage.write(id, 0, "{}")).rejects.toThrow(`Postgres failed: ${message}`);
  }
});

test.each([
  ["refuses as a whole - is done one by one", "22P05", [1, 1]],
  ["may have done - rejects each write", "08006", [expect.any(StorageError), expect.any(StorageError)]],
])("writeMany() - what Postgres %s", async (_, code, results) => {
  const storage = postgres({
    query: async (_: string, values: readonly unknown[]) => {
      if (values.length === 1) throw Object.assign(new Error("batch failed"), { code });
      return { rows: [{ version: 1 }] };
    },
  });
  await storage.open?.();
  expect(await storage.writeMany?.(["a", "b"].map((id) => ({ id, expected: 0, data: "one" })))).toEqual(results);
});

describe.skipIf(!isThere)("on a server", () => {
  /** A schema of this run alone, gone with all its tables afterwards. */
  const schema = `test_${randomUUID().replaceAll("-", "")}`;
  const pool = new pg.Pool({ connectionString: url, max: 8, application_name: schema });
  const sql = postgresJs(url, { max: 8, onnotice: () => {}, connection: { application_name: schema } });
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
      damage: async (storage, id) => {
        const [, table] = (tableOf.get(storage) ?? "").split(".");
        await pool.query(`UPDATE ${schema}."${table}" SET data = left(data, 5) WHERE id = $1`, [id]);
      },
      interrupt: async () => {
        await pool.query(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND query ILIKE 'listen%'",
          [schema],
        );
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

  test("watch() - ignores notifications of other programs", async () => {
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

  test.each([
    ["pg", (text: string, values: string[]) => pool.query(text, values)],
    ["postgres.js", (text: string, values: string[]) => sql.unsafe(text, values)],
  ])("writeMany() - by %s is one statement for those that create, one for the others", async (_, run) => {
    let statements = 0;
    const query = (text: string, values: string[]) => {
      statements += 1;
      return run(text, values);
    };
    const storage = postgres({ query }, { table: newTable() });
    await storage.open?.();
    const ids = Array.from({ length: 20 }, () => randomUUID());
    statements = 0;
    const created = await storage.writeMany?.(ids.map((id) => ({ id, expected: 0, data: "one" })));
    expect([created, statements]).toEqual([ids.map(() => 1), 1]);
    const deleted = await storage.writeMany?.(ids.map((id) => ({ id, expected: 1, data: null })));
    expect([deleted, statements]).toEqual([ids.map(() => 2), 2]);
    await storage.close?.();
  });

  test.each([
    ["camel", postgresJs.camel],
    ["pascal", postgresJs.pascal],
    ["kebab", postgresJs.kebab],
  ])("read(), peers - a client that renames columns (%s) gives the same", async (_, transform) => {
    const renaming = postgresJs(url, { max: 2, onnotice: () => {}, transform });
    const storage = postgres(renaming, { table: newTable() });
    await storage.open?.();
    expect(await storage.write("a", 0, "one")).toBe(1);
    expect(await storage.list()).toEqual([{ id: "a", version: 1, data: "one" }]);
    const batch = [
      { id: "b", expected: 0, data: "one" },
      { id: "a", expected: 1, data: null },
    ];
    expect(await storage.writeMany?.(batch)).toEqual([1, 2]);
    const peer = { id: "1", accessHash: "7", username: "alice" };
    await storage.peers?.save("a", [peer]);
    expect(await storage.peers?.load("a")).toEqual([peer]);
    await storage.close?.();
    await renaming.end();
  });

  test("close() - ends the connection on which postgres.js listens, unless the application does, too", async () => {
    const own = postgresJs(url, { max: 1, onnotice: () => {} });
    const storage = postgres(own, { table: newTable() });
    await storage.open?.();
    const { listen } = own as unknown as { listen: { sql?: unknown } };
    storage.watch?.(() => {});
    await vi.waitFor(() => expect(listen.sql).toBeDefined());
    await storage.close?.();
    expect(listen.sql).toBeUndefined();
    await own.listen("theirs", () => {});
    await storage.open?.();
    storage.watch?.(() => {});
    await storage.close?.();
    expect(listen.sql).toBeDefined();
    await own.end();
  });

  test("open() - another table of that name is refused", async () => {
    const table = newTable();
    const [, name] = table.split(".");
    await pool.query(`CREATE TABLE ${schema}."${name}" (theirs int)`);
    await expect(postgres(pool, { table }).open?.()).rejects.toBeInstanceOf(StorageError);
  });

  test("peers.knowing() - as a role that may not create an index: found without one, until the owner has made it", async () => {
    const table = newTable();
    const [, name] = table.split(".");
    const indexes = async (): Promise<readonly string[]> => {
      const { rows } = await pool.query("SELECT indexname FROM pg_indexes WHERE schemaname = $1 AND tablename = $2", [
        schema,
        `${name}_peers`,
      ]);
      return rows.map(({ indexname }) => indexname).sort();
    };
    await postgres(pool, { table }).open?.();
    await pool.query(
      `CREATE ROLE ${schema} LOGIN; GRANT USAGE ON SCHEMA ${schema} TO ${schema};
       GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${schema} TO ${schema};
       GRANT USAGE ON ALL SEQUENCES IN SCHEMA ${schema} TO ${schema}`,
    );
    const asRole = new pg.Pool({ connectionString: url, max: 2 });
    asRole.on("connect", (client) => void client.query(`SET ROLE ${schema}`));
    try {
      const storage = postgres(asRole, { table });
      await storage.open?.();
      await storage.peers?.save("a", [{ id: "1", accessHash: "7", username: "news" }]);
      const before = await indexes();
      for (let times = 0; times < 2; times++) {
        expect(await storage.peers?.knowing?.("username", ["news"])).toEqual(["a"]);
        expect(await storage.peers?.knowing?.("id", ["1", "2"])).toEqual(["a"]);
      }
      expect(await indexes()).toEqual(before);
      await storage.close?.();
      const owned = postgres(pool, { table });
      await owned.open?.();
      expect(await owned.peers?.knowing?.("username", ["news"])).toEqual(["a"]);
      expect(await indexes()).toEqual([...before, `${name}_peers_name`].sort());
    } finally {
      await asRole.end();
      await pool.query(`DROP OWNED BY ${schema}; DROP ROLE ${schema}`);
    }
  });
});
