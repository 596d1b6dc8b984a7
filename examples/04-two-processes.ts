/** Two processes share one encrypted file: a session is one process's at a time. Runs on its own: npx tsx examples/04-… */
import { fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TelegramClient } from "telegram";
import { aesGcm, SessionPool } from "telegram-session-pool";
import { gramjs } from "telegram-session-pool/gramjs";
import { sqlite } from "telegram-session-pool/sqlite";
import { startTestServer, testServerClientOptions } from "telegram-session-pool/testing";

// The first process passes it to the second one in the environment. A key of your own: openssl rand -base64 32
const { DC_PORT, FOLDER = mkdtempSync(join(tmpdir(), "two-processes-")) } = process.env;
const { KEY = randomBytes(32).toString("base64") } = process.env;

const host = "127.0.0.1";
const openPool = async (port: number): Promise<SessionPool<TelegramClient>> =>
  SessionPool.open({
    client: gramjs({ apiId: 1, apiHash: "x", clientOptions: await testServerClientOptions({ host, port }) }),
    storage: sqlite(join(FOLDER, "sessions.db")),
    encryption: aesGcm(KEY),
    ownership: { ttlMs: 3_000 }, // short, to see something; 60 s where it matters
    idleTimeoutMs: 0, // a session is given up with its lease
    trustServers: true, // these sessions name 127.0.0.1
  });
if (DC_PORT === undefined) await first();
else await second(Number(DC_PORT));

async function first(): Promise<void> {
  process.once("exit", () => rmSync(FOLDER, { recursive: true }));
  await using server = await startTestServer({ accounts: [{ name: "alice" }, { name: "bob" }] });
  await using pool = await openPool(server.port);
  for (const { name, session } of server.accounts) await pool.add(name, session);
  const lease = await pool.acquire({ id: "alice" });
  const env = { ...process.env, DC_PORT: `${server.port}`, FOLDER, KEY };
  const other = fork(fileURLToPath(import.meta.url), { env });
  await once(other, "message");
  lease.release();
  await once(other, "message");
  other.kill("SIGKILL");
  await pool.use((client) => client.getMe(), { id: "alice" });
  console.log("One: the other process is gone, alice is mine again");
  const files = readdirSync(FOLDER).map((name) => readFileSync(join(FOLDER, name), "latin1"));
  const isReadable = server.sessions.some((session) => files.some((text) => text.includes(session)));
  console.log(`${files.length} files, session strings in them: ${isReadable ? "yes" : "none"}`);
}

async function second(port: number): Promise<void> {
  await using pool = await openPool(port);
  console.log(`Two: alice is ${pool.get("alice")?.state}, so ${await pool.use((_, { id }) => id)} serves`);
  process.send?.("ready");
  await pool.acquire({ id: "alice" });
  console.log("Two: alice was given up, now she is mine");
  process.send?.("has alice");
  await new Promise(() => {}); // until it is killed
}
