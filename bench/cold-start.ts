/**
 * What a program pays before its first call: CPU time of importing the package beside a bare process, and the time from
 * the start of a process to the first lease beside the same of a GramJS client that connects by itself. Each sample is a
 * process of its own; they take turns, so that a busy machine hurts all of them.
 *
 *   npm run build && npx tsx bench/cold-start.ts [rounds]
 */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { SessionPool } from "telegram-session-pool";
import { gramjs } from "telegram-session-pool/gramjs";
import { sqlite } from "telegram-session-pool/sqlite";
import { type ForkedTestServer, forkTestServer } from "telegram-session-pool/testing";
import { median } from "./timing.js";

const ROUNDS = 15;
const SAMPLE_TIMEOUT_MS = 60_000;
const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** Both since the start of the process, in milliseconds. */
interface Sample {
  readonly cpuMs: number;
  readonly wallMs: number;
}

const REPORT = `
  const { user, system } = process.cpuUsage();
  console.log(JSON.stringify({ cpuMs: (user + system) / 1000, wallMs: performance.now() }));
  process.exit(0);`;

async function sample(program: string, values: readonly string[]): Promise<Sample> {
  const parameters = ["--input-type=module", "-e", `${program}\n${REPORT}`, "--", ...values];
  const options = { cwd: ROOT, timeout: SAMPLE_TIMEOUT_MS };
  const { stdout } = await promisify(execFile)(process.execPath, parameters, options);
  return JSON.parse(stdout) as Sample;
}

/** Both programs reach the test server by the same socket class. */
const NETWORK_SOCKET = `
  import { PromisedNetSockets } from "telegram/extensions/PromisedNetSockets.js";
  const [given, port] = process.argv.slice(1);
  class networkSocket extends PromisedNetSockets {
    connect() {
      return super.connect(Number(port), "127.0.0.1");
    }
  }`;

const RAW = `${NETWORK_SOCKET}
  import { TelegramClient } from "telegram";
  import { Logger, LogLevel } from "telegram/extensions/Logger.js";
  import { StringSession } from "telegram/sessions/index.js";
  const baseLogger = new Logger(LogLevel.NONE);
  const client = new TelegramClient(new StringSession(given), 1, "bench", { baseLogger, networkSocket });
  await client.connect();`;

const POOL = `${NETWORK_SOCKET}
  import { SessionPool } from "telegram-session-pool";
  import { gramjs } from "telegram-session-pool/gramjs";
  import { sqlite } from "telegram-session-pool/sqlite";
  const client = gramjs({ apiId: 1, apiHash: "bench", clientOptions: { networkSocket } });
  const pool = await SessionPool.open({ client, storage: sqlite(given), trustServers: true });
  await pool.acquire();`;

async function prepare(server: ForkedTestServer, path: string): Promise<string> {
  await using pool = await SessionPool.open({
    client: gramjs({ apiId: 1, apiHash: "bench", clientOptions: server.clientOptions }),
    storage: sqlite(path),
    trustServers: true,
  });
  const [account] = server.accounts;
  if (account === undefined) throw new Error("The test server has no account.");
  await pool.add(account.name, account.session);
  return account.session;
}

async function main(folder: string, rounds: number): Promise<void> {
  await using server = await forkTestServer({ accounts: 1, record: false });
  const path = join(folder, "sessions.db");
  const session = await prepare(server, path);
  const port = String(server.port);
  const programs = {
    "bare process": () => sample("", []),
    'import "telegram-session-pool"': () => sample('import "telegram-session-pool";', []),
    'import "telegram"': () => sample('import "telegram";', []),
    "GramJS: first connection": () => sample(RAW, [session, port]),
    "pool: first lease": () => sample(POOL, [path, port]),
  };
  const samples = new Map<string, Sample[]>(Object.keys(programs).map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, run] of Object.entries(programs)) samples.get(name)?.push(await run());
  }
  const cpu = (name: keyof typeof programs): number => median((samples.get(name) ?? []).map(({ cpuMs }) => cpuMs));
  const wall = (name: keyof typeof programs): number => median((samples.get(name) ?? []).map(({ wallMs }) => wallMs));
  const names = Object.keys(programs) as (keyof typeof programs)[];
  console.table(
    Object.fromEntries(
      names.map((name) => [name, { "CPU ms": Math.round(cpu(name)), "wall ms": Math.round(wall(name)) }]),
    ),
  );
  const imported = cpu('import "telegram-session-pool"') - cpu("bare process");
  console.log(`Importing the package costs ${imported.toFixed(0)} ms of CPU over a bare process (at most 80).`);
  const [ofCpu, ofTime] = [cpu, wall].map((of) => of("pool: first lease") / of("GramJS: first connection"));
  console.log(
    `The first lease takes ${ofTime?.toFixed(2)} times the time and ${ofCpu?.toFixed(2)} times the CPU time of GramJS's first connection (at most 1.1).`,
  );
}

const folder = mkdtempSync(join(tmpdir(), "cold-start-"));
try {
  await main(folder, Number(process.argv[2] ?? ROUNDS));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
