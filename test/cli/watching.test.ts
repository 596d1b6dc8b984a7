import { beforeAll, describe, expect, test } from "vitest";
import { sqlite } from "../../adapters/storage/sqlite.js";
import { SessionPool } from "../../src/session-pool.js";
import { ensureBuilt } from "../examples/build.js";
import { FakeTelegram } from "../fakes/fake-telegram.js";
import { sessionString } from "../fakes/sessions.js";
import { VirtualClock } from "../fakes/virtual-clock.js";
import { Folder } from "./command.js";
import { hasPseudoTerminal, TerminalSession } from "./terminal.js";

beforeAll(ensureBuilt, 120_000);

const NAMES = ["alice", "bob", "carol"];

async function open(folder: Folder, names: readonly string[] = NAMES): Promise<SessionPool<unknown>> {
  const pool = await SessionPool.open({
    client: new FakeTelegram(new VirtualClock()),
    storage: sqlite(folder.file("sessions.db")),
  });
  for (const name of names) await pool.add(name, sessionString(name));
  return pool;
}

/** Cools a session as a flood does. */
async function cool(pool: SessionPool<unknown>, id: string): Promise<void> {
  const lease = await pool.acquire({ id });
  lease.coolDown(600);
  lease.release();
}

describe.skipIf(!hasPseudoTerminal)("status --watch at a terminal", () => {
  test("redraws in place what another process changes, until Ctrl-C", async () => {
    const folder = new Folder();
    await using pool = await open(folder);
    await using terminal = new TerminalSession(folder, ["status", "--watch"]);
    await terminal.until(/3 accounts: 3 free {2}Next free: now\.\n\nID +STATE/);
    await cool(pool, "bob");
    // With its date when it ends tomorrow.
    await terminal.until(/bob +(foreign|cooling) +[\d-]* ?[\d:]+ \((10 min|9 min \d+ s)\)/);
    await terminal.until(new RegExp(`bob +foreign .* ${process.pid}`));
    await pool.disable("carol", "on holiday");
    await terminal.until(/carol +disabled +on holiday/);
    terminal.interrupt();
    expect(await terminal.ended).toBe(0);
    // Lines are drawn over, not appended: the cursor goes up, and is shown again at the end.
    expect(terminal.output).toContain("\u001b[6A");
    expect(terminal.output.lastIndexOf("\u001b[?25h")).toBeGreaterThan(terminal.output.lastIndexOf("\u001b[?25l"));
  });

  test("a narrow terminal - no line is wider than it; the state stays", async () => {
    const folder = new Folder();
    await using pool = await open(folder, ["a-name-that-is-much-longer-than-the-terminal-is-wide"]);
    await pool.disable("a-name-that-is-much-longer-than-the-terminal-is-wide", "a reason that is long, too");
    await using terminal = new TerminalSession(folder, ["status", "--watch"], { columns: 40 });
    await terminal.until(/a-name\S*… +disabled/);
    terminal.interrupt();
    await terminal.ended;
    expect(terminal.text.split("\n").filter((line) => line.length > 40)).toEqual([]);
  });

  test.each([[["status"]], [["status", "--watch"]]])("%j at 20 columns - the totals are not wider", async (words) => {
    const folder = new Folder();
    await using pool = await open(folder);
    await pool.disable("bob");
    await using terminal = new TerminalSession(folder, words, { columns: 20 });
    await terminal.until(/1 disabled/);
    await terminal.until(/Next free: now\./);
    terminal.interrupt();
    await terminal.ended;
    expect(terminal.text.split("\n").filter((line) => /free|disabled,/.test(line) && line.length > 20)).toEqual([]);
  });

  test("more accounts than lines - says how many are not shown", async () => {
    const folder = new Folder();
    await using _pool = await open(
      folder,
      Array.from({ length: 30 }, (_, index) => `account${index}`),
    );
    await using terminal = new TerminalSession(folder, ["status", "--watch"], { rows: 12 });
    await terminal.until(/… \d+ more lines/);
    terminal.interrupt();
    expect(await terminal.ended).toBe(0);
  });

  test("NO_COLOR - no colors; otherwise there are some", async () => {
    const folder = new Folder();
    await using _pool = await open(folder);
    const outputs: string[] = [];
    for (const environment of [{ NO_COLOR: "1" }, {}]) {
      await using terminal = new TerminalSession(folder, ["status"], { environment });
      expect(await terminal.ended).toBe(0);
      outputs.push(terminal.output);
    }
    expect(outputs[0]).not.toContain("\u001b[");
    expect(outputs[1]).toContain("\u001b[32mfree");
  });
});

test("status --watch without a terminal - one line for each change", async () => {
  const folder = new Folder();
  await using pool = await open(folder);
  await using child = folder.start(["status", "--watch"]);
  await child.until(/^3 accounts: 3 free Next free: now\.\n\S+ {2}alice {2}free\n/m);
  await pool.disable("bob", "on\u001b[2J holiday");
  await child.until(/^\S+ {2}bob {2}disabled \(on\uFFFD\[2J holiday\)$/m);
  await pool.remove("bob");
  await child.until(/^\S+ {2}bob {2}removed$/m);
  child.kill("SIGTERM");
  expect(await child.ended).toBe(0);
  expect(child.output).not.toContain("\u001b");
});
