import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, expect, onTestFinished, test } from "vitest";
import { callsOf, message, nameOf, rejection, stage, until, within } from "./support.js";

/** Holds the database's lock until its standard input ends: in a process of its own, for locks are a process's. */
const LOCKER = `
const { Database } = require("sqlite3");
const database = new Database(process.argv[1]);
database.exec("PRAGMA busy_timeout = 2000; BEGIN IMMEDIATE", (error) => {
  process.stdout.write(error === null ? "locked" : String(error));
  process.stdin.resume().on("end", () => database.exec("ROLLBACK", () => database.close(() => process.exit(0))));
});`;

/** Another program that holds the database's lock until it is told to let go. */
async function lock(file: string): Promise<() => Promise<void>> {
  const child = spawn(process.execPath, ["-e", LOCKER, file], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = once(child, "exit");
  const release = async (): Promise<void> => {
    child.stdin.end();
    await ended;
  };
  onTestFinished(release);
  const [said] = await once(child.stdout, "data");
  expect(String(said)).toBe("locked");
  return release;
}

describe("a database that is locked", () => {
  test("use() - settles after storageTimeoutMs, the cooldown holds, the write is made up for", async () => {
    const { server, file, open, toldOf } = await stage({ accounts: 2 });
    const pool = await open({ storageTimeoutMs: 250 });
    // A session that is connected is held; one that is not could not be claimed now.
    await Promise.all(pool.sessions().map(({ id }) => pool.use(nameOf, { id })));
    server.fail({ method: "messages.SendMessage", message: "FLOOD_WAIT_30", times: 1 });
    const unlock = await lock(file);
    const started = Date.now();
    await within(2_000, pool.invoke(message("goes on")));
    expect(Date.now() - started).toBeLessThan(1_500);
    await until("it was told", () => toldOf("storageFailed").length > 0);
    const [cooled] = await (async () => {
      await until("it was told", () => toldOf("cooled").length > 0);
      return toldOf("cooled");
    })();
    const id = cooled?.id ?? "";
    expect(pool.get(id)?.state).toBe("cooling");
    await pool.invoke(message("again"));
    expect(callsOf(server, "messages.SendMessage", id)).toHaveLength(1);
    await unlock();
    await within(6_000, pool.close());
    const again = await open();
    expect(again.get(id)).toMatchObject({ state: "cooling", availableAt: cooled?.until });
  });

  test("use() of a session that is not connected - rejects in time, and connects nothing", async () => {
    const { server, file, open } = await stage();
    const pool = await open({ storageTimeoutMs: 250 });
    const unlock = await lock(file);
    expect(await rejection(pool.use(nameOf), 2_000)).toMatchObject({ code: "STORAGE_FAILED", sessionId: "account1" });
    expect(server.connections()).toEqual([]);
    await unlock();
    expect(await within(10_000, pool.use(nameOf))).toBe("account1");
  });

  test("add() - rejects in time; close() ends in time", async () => {
    const { server, file, open } = await stage();
    const pool = await open({ storageTimeoutMs: 250 });
    await pool.use(nameOf);
    await lock(file);
    const { session } = server.addAccount();
    const error = await rejection(pool.add("late", session), 2_000);
    expect(error).toMatchObject({ code: "STORAGE_FAILED" });
    expect(await within(1_000, pool.use(nameOf))).toBe("account1");
    await within(3_000, pool.close());
    await until("no connection", () => server.connections().every(({ closedAt }) => closedAt !== null));
  });
});
