import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TelegramClient } from "telegram";
import { sqlite } from "../../../adapters/storage/sqlite.js";
import type { SessionInfo } from "../../session-info.js";
import { SessionPool } from "../../session-pool.js";
import { type ForkedTestServer, forkTestServer } from "../../testing/test-server/fork.js";
import { loadClientAdapter } from "../client-library.js";
import type { ClientName } from "../settings.js";
import type { Terminal } from "../terminal.js";
import { ACCOUNTS, type Job, makeJobs, RECIPIENT } from "./data.js";
import { keepShowing } from "./keep.js";
import { type Progress, showProgress, type Tally } from "./progress.js";
import { printReport } from "./report.js";

const WORKERS = 12;

type Pool = SessionPool<TelegramClient>;

/**
 * 8 accounts, 400 messages and 100 usernames against a Telegram test server of our own, on 127.0.0.1, in a process of
 * its own. It floods the accounts and revokes one of them; the pool has to get all of the work done. Whether it has. With `isKept` it
 * goes on until the signal aborts, and shows the accounts in the browser.
 */
export async function runDemo(
  client: ClientName,
  isKept: boolean,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<boolean> {
  const folder = await mkdtemp(join(tmpdir(), "telegram-session-pool-"));
  try {
    return await demo(folder, client, isKept, terminal, signal);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

// try and finally, since Node.js 20 has no `using` and nothing here is compiled for it.
async function demo(
  folder: string,
  client: ClientName,
  isKept: boolean,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<boolean> {
  terminal.print("Starting a Telegram test server on 127.0.0.1 with 8 accounts …");
  const library = client === "gramjs" ? "telegram" : "teleproto";
  const server = await forkTestServer({ accounts: ACCOUNTS.map((name) => ({ name })), latencyMs: 60, library });
  try {
    await setLimits(server);
    const adapter = await loadClientAdapter(client);
    const open = (): Promise<Pool> =>
      SessionPool.open({
        client: adapter({ apiId: 1, apiHash: "demo", clientOptions: server.clientOptions }),
        storage: sqlite(join(folder, "sessions.db")),
        trustServers: true, // these sessions name 127.0.0.1, which is no server of Telegram's
      });
    return await workOnServer(server, open, isKept, terminal, signal);
  } finally {
    await server.close();
  }
}

async function workOnServer(
  server: ForkedTestServer,
  open: () => Promise<Pool>,
  isKept: boolean,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<boolean> {
  const startedAt = Date.now();
  const jobs = makeJobs(400, 100);
  const pool = await open();
  let resolved: ReadonlySet<string>;
  let sessions: readonly SessionInfo[];
  try {
    for (const { name, session } of server.accounts) await pool.add(name, session);
    const tally: Tally = { total: jobs.length, done: new Map() };
    terminal.print(
      `${WORKERS} workers send 400 messages and resolve 100 usernames with ${pool.status().total} accounts.\n`,
    );
    const progress = showProgress(pool, tally, terminal);
    reportEvents(pool, progress, startedAt);
    resolved = await work(pool, jobs, tally, server, signal).finally(() => progress.stop());
    sessions = pool.sessions();
  } finally {
    await pool.close();
  }
  const reopened = await open();
  try {
    const afterRestart = reopened.sessions();
    const tookMs = Date.now() - startedAt;
    const report = await server.report();
    const isAllHeld = printReport({ jobs, resolved, sessions, afterRestart, server: report, tookMs }, terminal);
    if (isKept) await keepShowing(reopened, terminal, signal);
    else terminal.print("With --keep it goes on, and shows the accounts in the browser.");
    return isAllHeld;
  } finally {
    await reopened.close();
  }
}

function reportEvents(pool: Pool, progress: Progress, startedAt: number): void {
  const report = (line: string): void =>
    progress.report(`${((Date.now() - startedAt) / 1_000).toFixed(1).padStart(5)}s  ${line}`);
  pool.on("cooled", ({ id, seconds }) =>
    report(`${id}: FLOOD_WAIT_${seconds}. It cools down, another account continues.`),
  );
  pool.on("recovered", ({ id }) => report(`${id} is available again.`));
  pool.on("died", ({ id, reason }) => report(`${id} is dead (${reason}). Another account continues.`));
}

/** Does the jobs, as many at once as there are workers: each takes the next one when it is done. The usernames that were resolved. */
async function work(
  pool: Pool,
  jobs: readonly Job[],
  tally: Tally,
  server: ForkedTestServer,
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const resolved = new Set<string>();
  const doOne = async (job: Job): Promise<void> => {
    const id = await pool.use(
      async (client, lease) => {
        if (job.kind === "message") await client.sendMessage(RECIPIENT, { message: job.text });
        else await client.getEntity(job.username).then(() => resolved.add(job.username));
        return lease.id;
      },
      { signal },
    );
    tally.done.set(id, (tally.done.get(id) ?? 0) + 1);
    await makeTrouble(
      server,
      [...tally.done.values()].reduce((sum, count) => sum + count),
    );
  };
  const queue = jobs.values();
  const worker = async (): Promise<void> => {
    for (const job of queue) await doOne(job);
  };
  await Promise.all(Array.from({ length: WORKERS }, worker));
  return resolved;
}

/** Gives every account limits of its own, which the pool is not told, as on Telegram. */
async function setLimits(server: ForkedTestServer): Promise<void> {
  for (const [at, account] of ACCOUNTS.entries()) {
    const waitSeconds = 2 + (at % 3);
    await server.limit("messages.SendMessage", { account, calls: 12 + 2 * at, perMs: 4_000, waitSeconds });
    await server.limit("contacts.ResolveUsername", { account, calls: 12, perMs: 5_000, waitSeconds: 2 });
  }
}

/** What happens on the way, by how many jobs are done: two floods out of the blue, and an account that is killed. */
async function makeTrouble(server: ForkedTestServer, done: number): Promise<void> {
  if (done === 60) await server.fail({ account: "bob", message: "FLOOD_WAIT_6", times: 1 });
  if (done === 120) await server.revoke("heidi");
  if (done === 200) await server.fail({ account: "carol", message: "FLOOD_WAIT_5", times: 1 });
}
