import type { TelegramClient } from "telegram";
import { memory, SessionPool, type SessionPoolOptions } from "telegram-session-pool";
import { gramjs } from "telegram-session-pool/gramjs";
import { teleproto } from "telegram-session-pool/teleproto";
import { type ForkedTestServer, forkTestServer, type LibraryName } from "telegram-session-pool/testing";

/*
 * What 500 connects and closes leave behind: nothing. Each cycle opens a pool on one session, makes a call, and closes or
 * destroys it. Run with --expose-gc; the test server is another process.
 */

const CYCLES = 500;
const WARM_UP = 100;
/** Much of what the libraries keep goes with a timer of theirs. */
const SETTLE_MS = 2_000;

function adapterOf(library: LibraryName, server: ForkedTestServer): SessionPoolOptions<TelegramClient>["client"] {
  const options = { apiId: 1, apiHash: "bench", clientOptions: server.clientOptions };
  const adapter: unknown = library === "telegram" ? gramjs(options) : teleproto(options as never);
  return adapter as SessionPoolOptions<TelegramClient>["client"];
}

async function cycle(library: LibraryName, server: ForkedTestServer, turn: number): Promise<void> {
  const client = adapterOf(library, server);
  const pool = await SessionPool.open({ client, storage: memory(), trustServers: true });
  const [account] = server.accounts;
  if (account !== undefined) await pool.add(account.name, account.session);
  await pool.use((leased) => leased.getMe());
  await (turn % 2 === 0 ? pool.close() : pool.destroy());
}

async function heapMb(): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  for (let i = 0; i < 5; i++) {
    globalThis.gc?.();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return process.memoryUsage().heapUsed / 2 ** 20;
}

function count(kind: string): number {
  return process.getActiveResourcesInfo().filter((name) => name === kind).length;
}

const rows: Record<string, Record<string, string | number>> = {};
for (const library of ["telegram", "teleproto"] as const) {
  await using server = await forkTestServer({ library, record: false });
  for (let i = 0; i < WARM_UP; i++) await cycle(library, server, i);
  const before = { heap: await heapMb(), timers: count("Timeout"), sockets: count("TCPSocketWrap") };
  for (let i = 0; i < CYCLES; i++) await cycle(library, server, i);
  const heap = await heapMb();
  rows[library] = {
    "heap MB before": before.heap.toFixed(2),
    "heap MB after": heap.toFixed(2),
    "heap more, %": (((heap - before.heap) / before.heap) * 100).toFixed(1),
    "timers more": count("Timeout") - before.timers,
    "sockets more": count("TCPSocketWrap") - before.sockets,
  };
}
console.log(`${CYCLES} cycles`);
console.table(rows);
