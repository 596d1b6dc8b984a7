import type { TelegramClient } from "telegram";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { MtprotoSignIn } from "../../adapters/client/mtproto/sign-in.js";
import { DuplicateSessionError, LoginError, memory, parseSession } from "../../src/index.js";
import type { AccountOptions, TelegramTestServer, TestServerOptions } from "../../src/testing/index.js";
import { remember } from "../canary/session-finder.js";
import { Api, PromisedNetSockets } from "../fakes/client-library.js";
import {
  callsOf,
  nameOf,
  type OpenOptions,
  type Pool,
  rejection,
  type Stage,
  stage,
  until,
  within,
} from "./support.js";

const PASSWORD = "correct horse battery";

/** A pool with Alice, on a server that makes new keys. */
async function alicesPool(
  account: AccountOptions = {},
  { server: serverOptions = {}, ...options }: OpenOptions & { readonly server?: TestServerOptions } = {},
): Promise<Stage & { readonly pool: Pool }> {
  const scene = await stage({ accounts: [{ name: "alice", ...account }], ...serverOptions });
  const { server } = scene;
  onTestFinished(() => until("the client that signs in is closed", () => openConnections(scene, "guest").length === 0));
  const pool = await scene.open({ connectTimeoutMs: 15_000, ...options, client: clientOf(server) });
  return { ...scene, pool };
}

const openConnections = ({ server }: Pick<Stage, "server">, account: string) =>
  server.connections().filter((connection) => connection.closedAt === null && connection.account.startsWith(account));

/** By the option `server` alone: the socket of the test server leads to one data center whatever is dialed. */
const clientOf = ({ server }: TelegramTestServer) => ({
  server,
  clientOptions: { networkSocket: PromisedNetSockets },
});

async function sessionOf(pool: Pool, id: string): Promise<string> {
  const session = await pool.exportSession(id);
  remember(session);
  return session;
}

const nameBy = (pool: Pool, id: string): Promise<string> =>
  pool.use((client: TelegramClient) => nameOf(client), { id });

describe("duplicate()", () => {
  test("an account without a password - a second session with a key of its own; both work at once", async () => {
    const { server, pool } = await alicesPool();
    const info = await within(10_000, pool.duplicate("alice", "laptop", { tags: ["dev"] }));
    expect(info).toMatchObject({ id: "laptop", state: "free", tags: ["dev"] });
    expect(parseSession(await sessionOf(pool, "laptop")).authKey).not.toEqual(
      parseSession(await sessionOf(pool, "alice")).authKey,
    );
    expect(server.authorizationCount("alice")).toBe(2);
    await using first = await pool.acquire({ id: "alice" });
    await using second = await pool.acquire({ id: "laptop" });
    expect([await nameOf(first.client), await nameOf(second.client)]).toEqual(["alice", "alice"]);
    expect(server.maxConnectionsPerKey()).toBe(1);
  });

  test("the client that signed in closes late - the pool connects the new session after that", async () => {
    const { close } = MtprotoSignIn.prototype;
    const closing = vi.spyOn(MtprotoSignIn.prototype, "close").mockImplementation(async function (
      this: MtprotoSignIn,
    ): Promise<void> {
      await new Promise((resolve) => setTimeout(resolve, 100));
      await close.call(this);
    });
    onTestFinished(() => closing.mockRestore());
    const { server, pool } = await alicesPool();
    const duplicating = pool.duplicate("alice", "laptop");
    await until("the new session is in the pool", () => pool.get("laptop"));
    expect(await nameBy(pool, "laptop")).toBe("alice");
    await duplicating;
    await sessionOf(pool, "laptop");
    expect(closing).toHaveBeenCalled();
    expect(server.maxConnectionsPerKey()).toBe(1);
  });

  test("a restart - the new session is in the storage", async () => {
    const { open, server, pool } = await alicesPool();
    await pool.duplicate("alice", "laptop");
    await sessionOf(pool, "laptop");
    await pool.close();
    const again = await open({ add: [], client: clientOf(server) });
    expect(await nameBy(again, "laptop")).toBe("alice");
  });

  test("the account has a password - asked for with its hint, a wrong one again", async () => {
    const { pool } = await alicesPool({ password: PASSWORD, passwordHint: "a horse" });
    const asked: unknown[] = [];
    const password = (hint: string | null, attempt: number): string => {
      asked.push([hint, attempt]);
      return attempt === 1 ? "wrong" : PASSWORD;
    };
    await pool.duplicate("alice", "laptop", { password });
    await sessionOf(pool, "laptop");
    expect(asked).toEqual([
      ["a horse", 1],
      ["a horse", 2],
    ]);
    expect(await nameBy(pool, "laptop")).toBe("alice");
  });

  test("a password without a callback for it - LOGIN_PASSWORD_NEEDED, the new key is signed out, the first session is as it was", async () => {
    const { server, pool } = await alicesPool({ password: PASSWORD });
    const error = await rejection(pool.duplicate("alice", "laptop"));
    expect(error).toBeInstanceOf(LoginError);
    expect(error).toMatchObject({ code: "LOGIN_PASSWORD_NEEDED" });
    expect(pool.get("laptop")).toBeUndefined();
    expect(pool.get("alice")?.state).toBe("free");
    expect(server.authorizationCount("alice")).toBe(1);
    expect(server.calls().at(-1)?.method).toBe("auth.LogOut");
  });

  test("three wrong passwords - LOGIN_PASSWORD_INVALID", async () => {
    const { server, pool } = await alicesPool({ password: PASSWORD });
    const error = await rejection(pool.duplicate("alice", "laptop", { password: () => "wrong" }));
    expect(error).toMatchObject({ code: "LOGIN_PASSWORD_INVALID" });
    expect(server.authorizationCount("alice")).toBe(1);
  });

  test("the account lives in another data center - the new key is made there", async () => {
    const { server, pool } = await alicesPool({ dcId: 4 }, { server: { dataCenters: [2, 4] } });
    await pool.duplicate("alice", "laptop");
    expect(parseSession(await sessionOf(pool, "laptop")).dcId).toBe(4);
    expect(await nameBy(pool, "laptop")).toBe("alice");
    expect(server.authorizationCount("alice")).toBe(2);
  });

  test("tags and profile - those of the first session, without keepConnected", async () => {
    const { server, pool } = await alicesPool();
    const profile = { deviceModel: "Lighthouse", keepConnected: true };
    await pool.update("alice", { tags: ["blue"], profile });
    const { tags } = await pool.duplicate("alice", "laptop");
    await sessionOf(pool, "laptop");
    expect(tags).toEqual(["blue"]);
    const { authorizations } = await pool.invoke(new Api.account.GetAuthorizations(), { id: "alice" });
    expect(authorizations.filter(({ deviceModel }) => deviceModel === "Lighthouse")).toHaveLength(2);
    expect(openConnections({ server }, "alice")).toHaveLength(1);
  });
});

describe("duplicate() - refused", () => {
  test("newId is taken - DuplicateSessionError, and nothing is sent", async () => {
    const { server, pool } = await alicesPool();
    const error = await rejection(pool.duplicate("alice", "alice"));
    expect(error).toBeInstanceOf(DuplicateSessionError);
    expect(server.connections()).toEqual([]);
  });

  test("newId is taken by another process - the same", async () => {
    const storage = memory();
    const { server, pool } = await alicesPool({}, { storage });
    await storage.write("laptop", 0, "{}");
    expect(await rejection(pool.duplicate("alice", "laptop"))).toBeInstanceOf(DuplicateSessionError);
    expect(server.connections()).toEqual([]);
  });

  test("two at once with one newId - the second is refused", async () => {
    const { pool, server } = await alicesPool();
    const both = await Promise.allSettled([pool.duplicate("alice", "laptop"), pool.duplicate("alice", "laptop")]);
    await sessionOf(pool, "laptop");
    expect(both.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(server.authorizationCount("alice")).toBe(2);
  });

  test("an id that there is not, an id that is none - SessionNotFoundError, OptionsError", async () => {
    const { pool } = await alicesPool();
    expect(await rejection(pool.duplicate("bob", "laptop"))).toMatchObject({ code: "SESSION_NOT_FOUND" });
    expect(await rejection(pool.duplicate("alice", ""))).toMatchObject({ code: "INVALID_OPTIONS" });
    const options = { passwort: () => "" } as never;
    expect(await rejection(pool.duplicate("alice", "laptop", options))).toMatchObject({ code: "INVALID_OPTIONS" });
  });

  test("the first session cools - nothing is sent before it may", async () => {
    const { server, pool } = await alicesPool();
    server.fail({ method: "users.GetUsers", message: "FLOOD_WAIT_30", times: 1 });
    await rejection(pool.use((client) => client.getMe(), { id: "alice", maxAttempts: 1, wait: false }));
    const sent = server.calls().length;
    const error = await rejection(pool.duplicate("alice", "laptop", { wait: false }));
    expect(error).toMatchObject({ code: "NO_SESSION_AVAILABLE" });
    expect(server.calls()).toHaveLength(sent);
    expect(server.violations()).toEqual([]);
  });

  test("FLOOD_WAIT in answer to the approval - the first session cools, nothing is left of the second", async () => {
    const { server, pool } = await alicesPool();
    server.fail({ method: "auth.AcceptLoginToken", message: "FLOOD_WAIT_30" });
    await rejection(pool.duplicate("alice", "laptop", { wait: false }));
    expect(callsOf(server, "auth.AcceptLoginToken")).toHaveLength(1);
    expect(server.authorizationCount("alice")).toBe(1);
    expect(pool.get("laptop")).toBeUndefined();
  });

  test("the new key cannot be added - it is signed out again", async () => {
    const storage = memory();
    const { server, pool } = await alicesPool({}, { storage });
    const { write } = storage;
    storage.write = (id, ...rest) => {
      if (id === "laptop") throw new Error("disk full");
      return write.call(storage, id, ...rest);
    };
    const error = await rejection(pool.duplicate("alice", "laptop"));
    expect(error).toMatchObject({ code: "STORAGE_FAILED" });
    expect(server.authorizationCount("alice")).toBe(1);
    expect(pool.get("laptop")).toBeUndefined();
  });
});

describe("duplicate() - the storage fails after it has written", () => {
  test("the record is there - STORAGE_FAILED, and the key stays signed in for the next pool", async () => {
    const storage = memory();
    const { server, pool, open } = await alicesPool({}, { storage, storageTimeoutMs: 300 });
    const { write } = storage;
    storage.write = async (id, ...rest) => {
      const version = await write.call(storage, id, ...rest);
      return id === "laptop" ? new Promise(() => {}) : version;
    };
    const error = await rejection(pool.duplicate("alice", "laptop"));
    expect(error).toMatchObject({ code: "STORAGE_FAILED", sessionId: "laptop" });
    expect(error.message).toContain("stays signed in");
    expect(callsOf(server, "auth.LogOut")).toEqual([]);
    await pool.close();
    storage.write = write;
    const next = await open({ add: [], client: clientOf(server), storage });
    await sessionOf(next, "laptop");
    expect(await nameBy(next, "laptop")).toBe("alice");
  });

  test("nothing can be read - the same", async () => {
    const storage = memory();
    const { server, pool } = await alicesPool({}, { storage, storageTimeoutMs: 300 });
    const { write, read } = storage;
    storage.write = (id, ...rest) => {
      if (id !== "laptop") return write.call(storage, id, ...rest);
      storage.read = () => Promise.reject(new Error("disk full"));
      throw new Error("disk full");
    };
    const error = await rejection(pool.duplicate("alice", "laptop"));
    storage.read = read;
    expect(error).toMatchObject({ code: "STORAGE_FAILED", sessionId: "laptop" });
    expect(callsOf(server, "auth.LogOut")).toEqual([]);
  });
});

describe("duplicate() - given up", () => {
  test("the signal aborts while the password is asked for - its reason, nothing is left", async () => {
    const { server, pool } = await alicesPool({ password: PASSWORD });
    const abort = new AbortController();
    const reason = new Error("changed my mind");
    const password = (): Promise<string> => {
      abort.abort(reason);
      return new Promise(() => {});
    };
    expect(await rejection(pool.duplicate("alice", "laptop", { password, signal: abort.signal }))).toBe(reason);
    expect(server.authorizationCount("alice")).toBe(1);
    expect(pool.leases()).toEqual([]);
  });

  test("the pool is closed while the password is asked for - PoolClosedError, close() resolves", async () => {
    const { server, pool } = await alicesPool({ password: PASSWORD });
    let isAsked = false;
    const duplicating = pool.duplicate("alice", "laptop", {
      password: () => {
        isAsked = true;
        return new Promise<string>(() => {});
      },
    });
    duplicating.catch(() => {});
    await until("the password is asked for", () => isAsked);
    await within(5_000, pool.close());
    expect(await rejection(duplicating)).toMatchObject({ code: "POOL_CLOSED" });
    expect(server.authorizationCount("alice")).toBe(1);
  });
});
