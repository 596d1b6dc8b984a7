/** A storage adapter of your own: one JSON file. The tests of this package hold it to the whole contract. */
import { open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { type SessionStorage, StorageCorruptError, StorageError } from "telegram-session-pool";

/** A record, or where one was: versions go on rising when an id comes back. */
type Entries = ReadonlyMap<string, { readonly version: number; readonly data: string | null }>;

/** Keeps records in one JSON file, for ONE process. Every write rewrites the file: for hundreds of sessions, not more. */
export function jsonFile(path: string): SessionStorage {
  let entries: Entries | undefined;
  let turn: Promise<unknown> = Promise.resolve();
  const opened = (): Entries => {
    if (entries === undefined) throw new StorageError(`${path} is not open.`);
    return entries;
  };
  const inTurn = <T>(step: () => Promise<T>): Promise<T> => {
    const result = turn.then(step);
    turn = result.catch(() => undefined);
    return result;
  };
  const list = async (): ReturnType<SessionStorage["list"]> =>
    [...opened()].flatMap(([id, { version, data }]) => (data === null ? [] : [{ id, version, data }]));
  return {
    shared: false,
    open: () =>
      inTurn(async () => {
        entries ??= await load(path);
      }),
    list,
    read: async (id) => (await list()).find((record) => record.id === id),
    write: (id, expected, data) =>
      inTurn(async () => {
        const last = opened().get(id) ?? { version: 0, data: null };
        if (expected !== (last.data === null ? 0 : last.version)) return undefined;
        if (expected === 0 && data === null) return undefined;
        const version = last.version + 1;
        const next = new Map(opened()).set(id, { version, data });
        await save(path, next);
        entries = next;
        return version;
      }),
    close: () =>
      inTurn(async () => {
        entries = undefined;
      }),
  };
}

async function load(path: string): Promise<Entries> {
  try {
    return new Map(JSON.parse(await readFile(path, "utf8")));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return new Map();
    throw new StorageCorruptError(`${path} cannot be read. Nothing was overwritten.`); // no cause: it may quote the file
  }
}

/** All or nothing, and on disk when it resolves: a whole new file takes the old one's place. */
async function save(path: string, entries: Entries): Promise<void> {
  const file = await open(`${path}.new`, "w", 0o600);
  try {
    await file.writeFile(JSON.stringify([...entries]));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
  if (process.platform === "win32") return;
  const folder = await open(dirname(path));
  await folder.sync().finally(() => folder.close());
}
