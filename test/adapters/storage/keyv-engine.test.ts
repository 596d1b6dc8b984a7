import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { keyvDriver } from "../../../adapters/storage/sqlite/keyv-driver.js";
import { retryWhileBusy, type SqliteDriver } from "../../../adapters/storage/sqlite/sqlite-driver.js";

const NUMBERS = 100;

async function engineOn(path: string): Promise<SqliteDriver> {
  const engine = await keyvDriver(path);
  onTestFinished(() => engine.close());
  await engine.query("PRAGMA busy_timeout=1");
  return engine;
}

test("query() - when a statement finds the file locked, no acknowledged statement is undone", async () => {
  const folder = mkdtempSync(join(tmpdir(), "keyv-engine-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "numbers.db");
  const [writer, other] = [await engineOn(path), await engineOn(path)];
  await other.query("CREATE TABLE numbers (number INTEGER PRIMARY KEY)");
  const hands = Array.from({ length: 8 }, (_, hand) => writeAll(writer, hand * NUMBERS, NUMBERS));
  let isBusy = true;
  const written = Promise.all(hands).finally(() => {
    isBusy = false;
  });
  while (isBusy) {
    await retryWhileBusy(() => other.query("BEGIN IMMEDIATE"));
    await pause(2);
    await retryWhileBusy(() => other.query("COMMIT"));
    await pause(2);
  }
  await written;
  expect(await other.query("SELECT count(*) AS count FROM numbers")).toEqual([{ count: 8 * NUMBERS }]);
});

/** Each number again and again, until it is acknowledged. */
async function writeAll(engine: SqliteDriver, first: number, count: number): Promise<void> {
  for (let number = first; number < first + count; number += 1) {
    await retryWhileBusy(() => engine.query("INSERT INTO numbers VALUES (?)", number));
  }
}

test("query() - writes at the same time are committed together; one that fails fails alone", async () => {
  const statements: string[] = [];
  const engine = await keyvDriver(":memory:", async () => {
    const { KeyvSqlite } = await import("@keyv/sqlite");
    return {
      KeyvSqlite: class extends KeyvSqlite {
        constructor(options: ConstructorParameters<typeof KeyvSqlite>[0]) {
          super(options);
          const query = this.query;
          this.query = (statement, ...parameters) => {
            statements.push(statement);
            return query(statement, ...parameters);
          };
        }
      },
    };
  });
  onTestFinished(() => engine.close());
  await engine.query("CREATE TABLE numbers (number INTEGER PRIMARY KEY)");
  const insert = (number: number) => engine.query("INSERT INTO numbers VALUES (?) RETURNING number", number);
  expect(await Promise.all([1, 2, 3].map(insert))).toEqual([[{ number: 1 }], [{ number: 2 }], [{ number: 3 }]]);
  expect(statements.filter((statement) => statement === "COMMIT")).toHaveLength(1);
  const results = await Promise.allSettled([4, 1, 5].map(insert));
  expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  expect(await engine.query("SELECT count(*) AS count FROM numbers")).toEqual([{ count: 5 }]);
});

test("query() - one statement at a time, the next one not before a refused one is finalized", async () => {
  const engine = await keyvDriver(":memory:", async () => ({ KeyvSqlite: Driver }));
  const results = await Promise.allSettled(["ok", "refused", "ok", "refused"].map((word) => engine.query(word)));
  expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled", "rejected"]);
  expect(Driver.mostActive).toBe(1);
});

/** As node-sqlite3 does: a statement that failed is finalized only after its caller was told. */
class Driver {
  static #active = 0;
  static mostActive = 0;

  async query(statement: string): Promise<readonly []> {
    Driver.#active += 1;
    Driver.mostActive = Math.max(Driver.mostActive, Driver.#active);
    await pause(1);
    if (statement !== "refused") Driver.#active -= 1;
    else setImmediate(() => Driver.#finalize());
    if (statement === "refused") throw new Error("SQLITE_BUSY");
    return [];
  }

  async disconnect(): Promise<void> {}

  static #finalize(): void {
    Driver.#active -= 1;
  }
}
