/**
 * `npm start`: 8 accounts, 400 messages and 100 usernames against a Telegram test server of our own, on 127.0.0.1, in
 * a process of its own. It floods the accounts and kills one of them; the pool has to get all of the work done.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TelegramClient } from "telegram";
import { SessionPool } from "telegram-session-pool";
import { gramjs } from "telegram-session-pool/gramjs";
import { sqlite } from "telegram-session-pool/sqlite";
import { forkTestServer } from "telegram-session-pool/testing";
import { ACCOUNTS, type Job, makeJobs, RECIPIENT } from "./data.js";
import { showProgress, type Tally } from "./progress.js";
import { printReport } from "./report.js";
import { makeTrouble, setLimits } from "./trouble.js";

const WORKERS = 12;
const startedAt = Date.now();
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort(new Error(signal)));
process.stdout.on("error", (error) => stop.abort(error)); // nobody reads the pipe any more: `npm start | head`

async function demo(folder: string): Promise<boolean> {
  console.log("Starting a Telegram test server on 127.0.0.1 with 8 accounts …");
  await using server = await forkTestServer({ accounts: ACCOUNTS.map((name) => ({ name })), latencyMs: 60 });
  await setLimits(server);

  const open = (): Promise<SessionPool<TelegramClient>> =>
    SessionPool.open({
      client: gramjs({ apiId: 1, apiHash: "demo", clientOptions: server.clientOptions }),
      storage: sqlite(join(folder, "sessions.db")),
      trustServers: true, // these sessions name 127.0.0.1, which is no server of Telegram's
    });
  await using pool = await open();
  for (const { name, session } of server.accounts) await pool.add(name, session);

  const jobs = makeJobs(400, 100);
  const tally: Tally = { total: jobs.length, done: new Map() };
  console.log(`${WORKERS} workers send 400 messages and resolve 100 usernames with ${pool.status().total} accounts.\n`);
  const progress = showProgress(pool, tally);
  const say = (line: string): void =>
    progress.tell(`${((Date.now() - startedAt) / 1_000).toFixed(1).padStart(5)}s  ${line}`);
  pool.on("cooled", ({ id, seconds }) =>
    say(`${id} was told FLOOD_WAIT_${seconds}: it rests, another account goes on`),
  );
  pool.on("recovered", ({ id }) => say(`${id} is back`));
  pool.on("died", ({ id, reason }) => say(`${id} is dead (${reason}): retired, another account goes on`));

  const resolved = new Set<string>();
  const doOne = async (job: Job): Promise<void> => {
    const id = await pool.use(
      async (client, lease) => {
        if (job.kind === "message") await client.sendMessage(RECIPIENT, { message: job.text });
        else await client.getEntity(job.username).then(() => resolved.add(job.username));
        return lease.id;
      },
      { signal: stop.signal },
    );
    const done = (tally.done.get(id) ?? 0) + 1;
    tally.done.set(id, done);
    await makeTrouble(
      server,
      [...tally.done.values()].reduce((sum, count) => sum + count),
    );
  };
  try {
    await inParallel(jobs, doOne);
  } finally {
    progress.stop();
  }
  const sessions = pool.sessions();
  await pool.close();
  await using reopened = await open();
  const afterRestart = reopened.sessions();
  const tookMs = Date.now() - startedAt;
  return printReport({ jobs, resolved, sessions, afterRestart, server: await server.report(), tookMs });
}

/** As many jobs at once as there are workers: each takes the next one when it is done. */
async function inParallel(jobs: readonly Job[], run: (job: Job) => Promise<void>): Promise<void> {
  const queue = jobs.values();
  const worker = async (): Promise<void> => {
    for (const job of queue) await run(job);
  };
  await Promise.all(Array.from({ length: WORKERS }, worker));
}

const folder = await mkdtemp(join(tmpdir(), "telegram-session-pool-"));
try {
  process.exitCode = (await demo(folder)) ? 0 : 1;
} catch (error) {
  if (!stop.signal.aborted) throw error;
  console.log("\nStopped: the pool is closed, every connection is gone.");
  process.exitCode = 130;
} finally {
  await rm(folder, { recursive: true, force: true });
}
