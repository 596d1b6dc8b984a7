import type { TelegramClient } from "telegram";
import { Api } from "telegram";
import { memory, SessionPool, type SessionPoolOptions } from "telegram-session-pool";
import { gramjs } from "telegram-session-pool/gramjs";
import { teleproto } from "telegram-session-pool/teleproto";
import { type LibraryName, startTestServer, type TelegramTestServer } from "telegram-session-pool/testing";
import { Api as TeleprotoApi } from "teleproto";

/*
 * What leaves a bare client of GramJS or teleproto waiting for ever, or for most of a minute, and how long the same takes
 * under a pool until the caller has an answer or an error.
 */

const CONNECT_TIMEOUT_MS = 500;
const CALL_TIMEOUT_MS = 500;
const LIBRARIES: readonly LibraryName[] = ["telegram", "teleproto"];

interface Scene {
  readonly server: TelegramTestServer;
  readonly pool: SessionPool<TelegramClient>;
  readonly Api: typeof Api;
}

/** Brings the situation about, and resolves with what is to settle and when that began. */
type Situation = (scene: Scene) => Promise<{ readonly began: number; readonly settled: Promise<unknown> }>;

const me = (client: TelegramClient): Promise<unknown> => client.getMe();
const now = (): number => performance.now();
/** One session, asked for by its id, so that a failed connect is told instead of waited out. */
const byId = { id: "account1", wait: false } as const;

async function whileAnswered(pool: Scene["pool"]): Promise<void> {
  await pool.use(me);
}

function begin(work: () => Promise<unknown>): { readonly began: number; readonly settled: Promise<unknown> } {
  const began = now();
  return { began, settled: work() };
}

/** A call that is on the wire and is not answered. */
async function callUnderWay({ server, pool }: Scene): Promise<{ readonly settled: Promise<unknown> }> {
  await whileAnswered(pool);
  server.clear();
  server.mute({ method: "users.GetUsers" });
  const settled = pool.use(me);
  settled.catch(() => {});
  while (!server.calls().some(({ method }) => method === "users.GetUsers")) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return { settled };
}

const SITUATIONS: Readonly<Record<string, Situation>> = {
  "close() with a call in flight (closeTimeoutMs 0)": async (scene) => {
    const { settled } = await callUnderWay(scene);
    const began = now();
    void scene.pool.close({ timeoutMs: 0 });
    return { began, settled };
  },
  "destroy() with a call in flight": async (scene) => {
    const { settled } = await callUnderWay(scene);
    const began = now();
    void scene.pool.destroy();
    return { began, settled };
  },
  "destroy() while it connects": async ({ server, pool }) => {
    server.ignore();
    const settled = pool.acquire(byId);
    settled.catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 50));
    const began = now();
    void pool.destroy();
    return { began, settled };
  },
  "connect: nobody listens": async ({ server, pool }) => {
    await server.pause();
    return begin(() => pool.acquire(byId));
  },
  "connect: accepted, then mute": async ({ server, pool }) => {
    server.ignore();
    return begin(() => pool.acquire(byId));
  },
  "connect: initConnection is not answered": async ({ server, pool }) => {
    server.mute({ connect: "only" });
    return begin(() => pool.acquire(byId));
  },
  "connect: initConnection refused, 406 AUTH_KEY_DUPLICATED": async ({ server, pool }) => {
    server.revoke("account1", { code: 406, message: "AUTH_KEY_DUPLICATED", connect: true });
    return begin(() => pool.use(me, byId));
  },
  "connect: the key is unknown (-404)": async ({ server, pool }) => {
    server.failTransport({ code: -404 });
    return begin(() => pool.acquire(byId));
  },
  "connect: too many connections (-429)": async ({ server, pool }) => {
    server.failTransport({ code: -429 });
    return begin(() => pool.acquire(byId));
  },
  "connect twice at once": async ({ pool }) => begin(() => Promise.all([pool.use(me), pool.use(me)])),
  "mid-life: the key is unknown (-404)": async ({ server, pool }) => {
    await whileAnswered(pool);
    server.failTransport({ code: -404 });
    return begin(() => pool.use(me, byId));
  },
  "mid-life: a call is not answered": async ({ server, pool }) => {
    await whileAnswered(pool);
    server.mute({ method: "users.GetUsers" });
    return begin(() => pool.use(me, byId));
  },
  "mid-life: the connection is cut once": async ({ server, pool }) => {
    await whileAnswered(pool);
    server.cut({ method: "users.GetUsers", at: "after", times: 1 });
    return begin(() => pool.use(me, byId));
  },
  "mid-life: the server goes away for good": async (scene) => {
    const { settled } = await callUnderWay(scene);
    const began = now();
    await scene.server.pause();
    return { began, settled };
  },
  "an rpc_error in a container, answers behind it": async ({ server, pool, Api: Tl }) => {
    await whileAnswered(pool);
    server.fail({ method: "users.GetFullUser", code: 400, message: "USER_ID_INVALID" });
    return begin(() =>
      pool.use((client) =>
        Promise.allSettled([
          client.invoke(new Tl.users.GetFullUser({ id: new Tl.InputUserSelf() })),
          client.getMe(),
          client.getMe(),
        ]),
      ),
    );
  },
  USER_MIGRATE_4: async ({ server, pool }) => {
    await whileAnswered(pool);
    server.fail({ method: "users.GetUsers", code: 303, message: "USER_MIGRATE_4" });
    return begin(() => pool.use(me, byId));
  },
  "a dead line, nothing in flight (noticed)": async ({ server, pool }) => {
    await whileAnswered(pool);
    server.ignore();
    return begin(() => new Promise((resolve) => pool.once("disconnected", resolve)));
  },
};

async function measure(library: LibraryName, situation: Situation): Promise<string> {
  await using server = await startTestServer({ library });
  const options = { apiId: 1, apiHash: "bench", clientOptions: server.clientOptions };
  const client = library === "telegram" ? gramjs(options) : teleproto(options as never);
  const pool = await SessionPool.open({
    client: client as SessionPoolOptions<TelegramClient>["client"],
    storage: memory(),
    trustServers: true,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    callTimeoutMs: CALL_TIMEOUT_MS,
  });
  for (const { name, session } of server.accounts) await pool.add(name, session);
  const scene: Scene = { server, pool, Api: library === "telegram" ? Api : (TeleprotoApi as never) };
  const { began, settled } = await situation(scene);
  const outcome = await settled.then(
    () => "answered",
    (error: unknown) => (error instanceof Error ? error.name : String(error)),
  );
  const spentMs = now() - began;
  await pool.destroy();
  return `${spentMs.toFixed(0)} ms, ${outcome}`;
}

const rows: Record<string, Record<string, string>> = {};
for (const [name, situation] of Object.entries(SITUATIONS)) {
  rows[name] = {};
  for (const library of LIBRARIES) rows[name][library] = await measure(library, situation);
}
console.log(`connectTimeoutMs ${CONNECT_TIMEOUT_MS}, callTimeoutMs ${CALL_TIMEOUT_MS}`);
console.table(rows);
