import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Api as ApiTypes, TelegramClient } from "telegram";
import { afterAll, afterEach, beforeAll, expect, onTestFinished } from "vitest";
import type { GramjsOptions } from "../../adapters/client/gramjs.js";
import { sqlite } from "../../adapters/storage/sqlite.js";
import { SessionPool, type SessionPoolEvents, type SessionPoolOptions } from "../../src/index.js";
import {
  startTestServer,
  type TelegramTestServer,
  type TestServerOptions,
  type WaitScope,
} from "../../src/testing/index.js";
import { remember } from "../canary/session-finder.js";
import { Api, libraryName, telegramAdapter } from "../fakes/client-library.js";

export { Api };

export type Pool = SessionPool<TelegramClient>;
export const API_ID = 4_711;
export const API_HASH = "canary-api-hash-0123456789abcdef";

/** Options of a pool of a scenario. */
export interface OpenOptions extends Partial<Omit<SessionPoolOptions<TelegramClient>, "client">> {
  readonly client?: Partial<GramjsOptions>;
  /** Which accounts are added. @default all */
  readonly add?: readonly string[];
}

/** An event as it was emitted. */
export interface Told {
  readonly name: keyof SessionPoolEvents;
  readonly event: Readonly<Record<string, unknown>>;
  readonly at: number;
}

/** One test server and the pools on it, all gone when the test is over. */
export interface Stage {
  readonly server: TelegramTestServer;
  /** A database file of this test. */
  readonly file: string;
  /** Opens a pool on the file with every account in it, each by its name. */
  open(options?: OpenOptions): Promise<Pool>;
  /** What the pools have told so far. */
  readonly told: readonly Told[];
  toldOf<Name extends keyof SessionPoolEvents>(name: Name): readonly Parameters<SessionPoolEvents[Name]>[0][];
}

const EVENTS: readonly (keyof SessionPoolEvents)[] = [
  "waiting",
  "leased",
  "released",
  "cooled",
  "recovered",
  "restricted",
  "died",
  "connected",
  "disconnected",
  "accountLearnt",
  "expiring",
  "sessionChanged",
  "leaked",
  "recordRejected",
  "storageFailed",
];

const rejections: unknown[] = [];
const noteRejection = (reason: unknown): void => {
  rejections.push(reason);
};
beforeAll(() => {
  process.on("unhandledRejection", noteRejection);
});
afterAll(() => {
  process.off("unhandledRejection", noteRejection);
});
afterEach(async () => {
  await new Promise((resolve) => setImmediate(resolve));
  expect(rejections.splice(0), "unhandled rejections").toEqual([]);
});

/** Sets a scenario up. */
export async function stage(options: TestServerOptions = {}): Promise<Stage> {
  const server = await startTestServer({ library: libraryName, ...options });
  for (const session of server.sessions) remember(session);
  const directory = mkdtempSync(join(memoryFolder(), "scenario-"));
  const file = join(directory, "sessions.db");
  const pools: Pool[] = [];
  const told: Told[] = [];
  onTestFinished(async () => {
    await Promise.all(pools.map((pool) => pool.destroy()));
    await server.close();
    rmSync(directory, { recursive: true, force: true });
    expect(server.maxConnectionsPerKey(), "connections per key").toBeLessThanOrEqual(1);
  });
  const open = async ({ add, client, ...rest }: OpenOptions = {}): Promise<Pool> => {
    const pool = await SessionPool.open({
      client: telegramAdapter({
        apiId: API_ID,
        apiHash: API_HASH,
        ...client,
        clientOptions: { ...server.clientOptions, ...client?.clientOptions },
      }),
      storage: sqlite(file),
      trustServers: true,
      callTimeoutMs: 5_000,
      connectTimeoutMs: 3_000,
      closeTimeoutMs: 2_000,
      ...rest,
    });
    pools.push(pool);
    for (const name of EVENTS) {
      pool.on(name, ((event: Record<string, unknown>) => {
        told.push({ name, event, at: Date.now() });
      }) as never);
    }
    // With their user ids, so that the calls at the server are those of the test: see accounts.test.ts.
    for (const { name: id, session, userId } of server.accounts) {
      if (add !== undefined && !add.includes(id)) continue;
      const { refused } = await pool.addMany([{ id, session, accountId: String(userId) }]);
      for (const { error } of refused) throw error;
    }
    return pool;
  };
  const toldOf: Stage["toldOf"] = (name) =>
    told.filter((entry) => entry.name === name).map((entry) => entry.event) as never;
  return { server, file, open, told, toldOf };
}

/** Waits until the condition holds; fails with what it was about otherwise. */
export async function until(what: string, holds: () => unknown, withinMs = 8_000): Promise<void> {
  const deadline = Date.now() + withinMs;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`Not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
}

/** A folder in memory, where there is one: a database here is not to wait for a disk on which everybody writes. */
function memoryFolder(): string {
  const folder = "/dev/shm";
  try {
    accessSync(folder, constants.W_OK);
    return folder;
  } catch {
    return tmpdir();
  }
}

/** Several test files run at once on few cores: what takes so many times as long is late, and does not hang. */
const PATIENCE = 3;

/** What the promise settles to, within so many milliseconds, or three times as many on a busy machine. */
export async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Did not settle within ${ms} ms`)), ms * PATIENCE);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The error of a promise that has to reject, within so many milliseconds. */
export async function rejection<E extends Error = Error>(promise: Promise<unknown>, ms = 8_000): Promise<E> {
  const settled = await within(
    ms,
    promise.then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    ),
  );
  if ("error" in settled && settled.error instanceof Error) return settled.error as E;
  throw new Error(`Expected a rejection, got ${JSON.stringify(settled)}`);
}

/** A send to a user or channel by its name. */
export function message(text: string, peer = "user1"): ApiTypes.messages.SendMessage {
  return new Api.messages.SendMessage({ peer, message: text });
}

/** One account's calls of one method, connects left out. */
export function callsOf(
  server: TelegramTestServer,
  method: string,
  account?: string,
): ReturnType<TelegramTestServer["calls"]> {
  return server
    .calls()
    .filter((call) => !call.isConnect && call.method === method && (account === undefined || call.account === account));
}

/** How often each text was received: each has to be there exactly once. */
export function textsOf(server: TelegramTestServer): readonly string[] {
  return server.messages().map(({ text }) => text);
}

/** No call came in spite of a wait, and nothing was sent twice: each message of these tests has a text of its own. */
export function expectPeace(server: TelegramTestServer, scope: WaitScope = "session"): void {
  expect(server.violations({ scope })).toEqual([]);
  expect(server.duplicates({ key: ({ text }) => text })).toEqual([]);
  expect(server.maxConnectionsPerKey()).toBeLessThanOrEqual(1);
}

/** An account's name as the client says it. */
export async function nameOf(client: TelegramClient): Promise<string> {
  const me = (await client.getMe()) as ApiTypes.User;
  return me.username ?? "";
}
