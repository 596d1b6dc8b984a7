import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, onTestFinished, test, vi } from "vitest";
import { prepareFile } from "../../../adapters/storage/sqlite/file.js";
import { nodeDriver } from "../../../adapters/storage/sqlite/handle-driver.js";
import { keyvDriver } from "../../../adapters/storage/sqlite/keyv-driver.js";
import type { SqliteDriver } from "../../../adapters/storage/sqlite/sqlite-driver.js";
import { sqlite } from "../../../adapters/storage/sqlite.js";
import { StorageError } from "../../../src/errors.js";
import type { SessionStorage } from "../../../src/storage/storage.js";

const folder = mkdtempSync(join(tmpdir(), "sqlite-file-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const isRoot = process.geteuid?.() === 0;
let files = 0;

function newPath(): string {
  files += 1;
  return join(folder, `${files}.db`);
}

async function opened(path: string): Promise<SessionStorage> {
  const storage = sqlite(path);
  await storage.open?.();
  return storage;
}

async function withEngine<T>(path: string, work: (engine: SqliteDriver) => Promise<T>): Promise<T> {
  const engine = nodeDriver(path) ?? (await keyvDriver(path));
  try {
    return await work(engine);
  } finally {
    await engine.close();
  }
}

/** How many POSIX locks this process has on the file. */
function locksOn(path: string): number {
  const { ino } = statSync(path);
  const lines = readFileSync("/proc/locks", "utf8").split("\n");
  return lines.filter((line) => line.includes(` ${process.pid} `) && line.includes(`:${ino} `)).length;
}

test.skipIf(!existsSync("/proc/locks"))(
  "open(), close() - a second storage on the file leaves the locks of the first one in place",
  async () => {
    const path = newPath();
    const first = await opened(path);
    await withEngine(path, async (engine) => {
      await engine.query("BEGIN IMMEDIATE");
      const before = locksOn(path);
      expect(before).toBeGreaterThan(0);
      const second = await opened(path);
      await second.close?.();
      expect(locksOn(path)).toBe(before);
      await engine.query("COMMIT");
    });
    await first.close?.();
  },
);

test("open() - leaves nothing but the one file", async () => {
  const home = join(folder, "alone");
  mkdirSync(home);
  const storage = await opened(join(home, "sessions.db"));
  await storage.write("a", 0, "one");
  expect(readdirSync(home)).toEqual(["sessions.db"]);
  expect(statSync(join(home, "sessions.db")).mode & 0o777).toBe(0o600);
  await storage.close?.();
});

test("open() - a plain copy of the open file holds every record", async () => {
  const path = newPath();
  const storage = await opened(path);
  await storage.write("a", 0, "one");
  writeFileSync(`${path}.copy`, readFileSync(path), { mode: 0o600 });
  const copy = await opened(`${path}.copy`);
  expect(await copy.list()).toEqual([{ id: "a", version: 1, data: "one" }]);
  await copy.close?.();
  await storage.close?.();
});

test("open() - converts a file in WAL mode and keeps its records", async () => {
  const path = newPath();
  const storage = await opened(path);
  await storage.write("a", 0, "one");
  await storage.close?.();
  await withEngine(path, (engine) => engine.query("PRAGMA journal_mode=WAL"));
  const again = await opened(path);
  expect(await again.read("a")).toEqual({ id: "a", version: 1, data: "one" });
  const [mode] = await withEngine(path, (engine) => engine.query("PRAGMA journal_mode"));
  expect(mode).toEqual({ journal_mode: "delete" });
  await again.close?.();
});

test("open() - a symbolic link to a file is followed, also before that file is there", async () => {
  const [link, path] = [newPath(), newPath()];
  symlinkSync(path, link);
  const storage = await opened(link);
  await storage.write("a", 0, "one");
  expect(statSync(path).size).toBeGreaterThan(0);
  await storage.close?.();
});

test("open() - a symbolic link into a missing folder is named with its target", async () => {
  const link = newPath();
  symlinkSync(join(folder, "volume", "sessions.db"), link);
  await expect(sqlite(link).open?.()).rejects.toThrow(
    `${link} is a symbolic link to ${join(folder, "volume", "sessions.db")}. The folder ${join(folder, "volume")} does not exist`,
  );
});

test.skipIf(!isRoot)("open() - a file of another user is refused with the command that helps", async () => {
  const path = newPath();
  writeFileSync(path, "", { mode: 0o600 });
  chownSync(path, 12_345, 12_345);
  await expect(sqlite(path).open?.()).rejects.toThrow(`chown ${process.geteuid?.()} ${path}`);
  expect(statSync(path).size).toBe(0);
  const allowed = sqlite(path, { allowOpenPermissions: true });
  await allowed.open?.();
  await allowed.close?.();
});

test.skipIf(process.platform === "win32")("open() - a folder that cannot be written to is named", () => {
  const home = mkdtempSync(join(tmpdir(), "sqlite-read-only-"));
  const path = join(home, "sessions.db");
  writeFileSync(path, "", { mode: 0o600 });
  chmodSync(home, 0o555);
  // The real user of a process, which access() goes by, cannot be taken back.
  if (isRoot) process.seteuid?.(65_534);
  try {
    for (const file of isRoot ? [join(home, "new.db")] : [path, join(home, "new.db")]) {
      expect(() => prepareFile(file)).toThrow(`The folder ${home} is not writable`);
    }
  } finally {
    if (isRoot) process.seteuid?.(0);
    chmodSync(home, 0o755);
    rmSync(home, { recursive: true });
  }
});

test.each([
  ["deleted", (path: string) => rmSync(path)],
  ["replaced", (path: string) => writeFileSync(`${path}.new`, readFileSync(path)) ?? renameSync(`${path}.new`, path)],
])("write() - a file that was %s while it was open is a StorageError", async (_, harm) => {
  const path = newPath();
  const storage = await opened(path);
  await storage.write("a", 0, "one");
  harm(path);
  const error: unknown = await storage.write("a", 1, "two").catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(StorageError);
  expect(String(error)).toContain(`${path} was deleted or replaced while it was open`);
  await storage.close?.();
});

test("write() - works again after the file was moved back", async () => {
  const path = newPath();
  const storage = await opened(path);
  renameSync(path, `${path}.moved`);
  await expect(storage.list()).rejects.toThrow("deleted or replaced");
  renameSync(`${path}.moved`, path);
  expect(await storage.write("a", 0, "one")).toBe(1);
  await storage.close?.();
});

test("watch() - reports other connections' writes and deletions, not its own", async () => {
  const path = newPath();
  const [storage, other] = [await opened(path), await opened(path)];
  await other.write("old", 0, "one");
  const heard: string[] = [];
  const stop = storage.watch?.((id) => heard.push(id));
  let version = 0;
  await vi.waitFor(async () => {
    version = (await other.write("theirs", version, "news")) ?? version;
    expect(heard).toContain("theirs");
  }, 20_000);
  await storage.write("mine", 0, "one");
  await other.write("old", 1, null);
  await vi.waitFor(() => expect(heard).toContain("old"), 20_000);
  expect(heard).not.toContain("mine");
  stop?.();
  await storage.close?.();
  await other.close?.();
});

/** Resolves how long it took until the watch reported a write of another connection, made at any moment of its pause. */
async function reportedAfter(): Promise<number> {
  const path = newPath();
  const [storage, other] = [await opened(path), await opened(path)];
  await storage.write("a", 0, "one");
  await storage.list();
  const heard: string[] = [];
  storage.watch?.((id) => heard.push(id));
  await other.write("a", 1, "two");
  await vi.waitFor(() => expect(heard).toEqual(["a"]), 20_000);
  await other.write("b", 0, "one");
  const began = performance.now();
  await vi.waitFor(() => expect(heard).toContain("b"), { timeout: 20_000, interval: 5 });
  await storage.close?.();
  await other.close?.();
  return performance.now() - began;
}

test.runIf(process.platform === "linux")("watch() - reports a write when the file changes", async () => {
  const tookMs = [await reportedAfter(), await reportedAfter(), await reportedAfter()];
  expect(Math.min(...tookMs)).toBeLessThan(400);
});

test("watch() - where files have no events, reports a write within a second", async () => {
  const { platform } = process;
  onTestFinished(() => void Object.defineProperty(process, "platform", { value: platform }));
  Object.defineProperty(process, "platform", { value: "darwin" });
  const tookMs = [await reportedAfter(), await reportedAfter(), await reportedAfter()];
  expect(Math.min(...tookMs)).toBeLessThan(1_000);
});

test("watch() - reports what was written since the list was read", async () => {
  const path = newPath();
  const [storage, other] = [await opened(path), await opened(path)];
  await storage.write("old", 0, "one");
  await storage.list();
  await other.write("new", 0, "one");
  await other.write("old", 1, "two");
  const heard: string[] = [];
  storage.watch?.((id) => heard.push(id));
  await vi.waitFor(() => expect([...heard].sort()).toEqual(["new", "old"]), 20_000);
  await storage.close?.();
  await other.close?.();
});

test("watch() - without a list, says from when on it reports every write", async () => {
  const path = newPath();
  const [storage, other] = [await opened(path), await opened(path)];
  await other.write("before", 0, "one");
  const heard: string[] = [];
  const listening = vi.fn();
  storage.watch?.((id) => heard.push(id), undefined, listening);
  await vi.waitFor(() => expect(listening).toHaveBeenCalledOnce(), 10_000);
  await other.write("after", 0, "one");
  await vi.waitFor(() => expect(heard).toEqual(["after"]), 10_000);
  expect(listening).toHaveBeenCalledOnce();
  await storage.close?.();
  await other.close?.();
});

test("watch() - reports once that it fails, and resumes", async () => {
  const path = newPath();
  const [storage, other] = [await opened(path), await opened(path)];
  const [heard, failures] = [new Set<string>(), [] as Error[]];
  storage.watch?.(
    (id) => heard.add(id),
    (error) => failures.push(error),
  );
  renameSync(path, `${path}.moved`);
  await vi.waitFor(() => expect(failures).toHaveLength(1), 5_000);
  renameSync(`${path}.moved`, path);
  let version = 0;
  await vi.waitFor(async () => {
    version = (await other.write("a", version, "news")) ?? version;
    expect(heard).toContain("a");
  }, 20_000);
  expect(failures).toHaveLength(1);
  await storage.close?.();
  await other.close?.();
});
