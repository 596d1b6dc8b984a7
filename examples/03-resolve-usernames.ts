/**
 * A long job that may be killed: 2,000 usernames are resolved with 20 accounts, and each line of the result is kept. End
 * it with Ctrl-C or kill -9, start it again, and it goes on: npx tsx examples/03-resolve-usernames.ts [folder]
 *
 * It brings a Telegram test server of its own, on 127.0.0.1, unless TEST_SERVER names one: {"host","port","accounts"}.
 */
import { appendFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import cliProgress from "cli-progress";
import { type MapProgress, SessionPool } from "telegram-session-pool";
import { gramjs } from "telegram-session-pool/gramjs";
import { sqlite } from "telegram-session-pool/sqlite";
import { forkTestServer, type TestServerAccount, testServerClientOptions } from "telegram-session-pool/testing";

type Accounts = readonly Pick<TestServerAccount, "name" | "session">[];
type Address = { readonly host: string; readonly port: number; readonly accounts: Accounts };

const folder = process.argv[2] ?? "resolved-usernames";
const names = Array.from({ length: 2_000 }, (_, index) => `user${index + 1}`);
const resultFile = join(folder, "usernames.jsonl");
const stop = new AbortController();
process.once("SIGINT", () => stop.abort(new Error("Stopped. Start it again, and it goes on.")));

await mkdir(folder, { recursive: true, mode: 0o700 });
await using own = process.env.TEST_SERVER === undefined ? await startTestServer() : undefined;
const server: Address = own ?? JSON.parse(process.env.TEST_SERVER ?? "");

const storage = sqlite(join(folder, "sessions.db"));
await using pool = await SessionPool.open({
  client: gramjs({ apiId: 1, apiHash: "example", clientOptions: await testServerClientOptions(server) }),
  storage,
  trustServers: true, // these sessions name 127.0.0.1
});
for (const { name, session } of server.accounts) await pool.add(name, session);

const before = await resultsSoFar();
const progress = showProgress();
const resolved = pool.map(
  names,
  async (client, name) => {
    // Kept inside the work, before the item counts as done: what is handed over below would be lost by a kill. After a
    // kill between the two the work runs again, and finds its result there.
    if (before.has(name)) return;
    const { id } = await client.getEntity(name);
    await appendFile(resultFile, `${JSON.stringify({ name, id: String(id) })}\n`);
  },
  {
    checkpoint: { storage, name: "usernames", key: (name) => name },
    onProgress: progress.show,
    signal: stop.signal,
  },
);
let failed = 0;
try {
  for await (const { item, ok } of resolved) {
    if (!ok) failed++;
    if (process.env.VERBOSE !== undefined) console.log(`acknowledged ${item}`);
  }
} catch (error) {
  if (!stop.signal.aborted) throw error;
  console.log(`\n${stop.signal.reason.message}`);
} finally {
  progress.stop();
}
const { size } = await resultsSoFar();
console.log(`${size} of ${names.length} names are in ${resultFile}, ${failed} failed.`);

async function resultsSoFar(): Promise<ReadonlyMap<string, string>> {
  const text = await readFile(resultFile, "utf8").catch(() => "");
  const lines = text.split("\n").filter((line) => line.endsWith("}"));
  return new Map(lines.map((line) => [JSON.parse(line).name, JSON.parse(line).id]));
}

/** Its accounts are kept in the folder: they have to be the same ones at the next start. */
async function startTestServer(): ReturnType<typeof forkTestServer> {
  const file = join(folder, "accounts.json");
  const known = await readFile(file, "utf8").catch(() => undefined);
  const accounts: Accounts | undefined = known === undefined ? undefined : JSON.parse(known);
  const started = await forkTestServer({ accounts: accounts ?? 20, latencyMs: 100 });
  const kept = started.accounts.map(({ name, session }) => ({ name, session }));
  await writeFile(file, JSON.stringify(kept), { mode: 0o600 });
  await started.limit("contacts.ResolveUsername", { calls: 20, perMs: 3_000, waitSeconds: 2 });
  return started;
}

/** A bar in a terminal, a line a second elsewhere. */
function showProgress(): { show(progress: MapProgress): void; stop(): void } {
  const bar = process.stdout.isTTY
    ? new cliProgress.SingleBar({ format: "{bar} {value}/{total} names, {note}", hideCursor: true })
    : undefined;
  bar?.start(names.length, 0, { note: "" });
  const show = ({ done, total, perSecond, waitingUntil }: MapProgress): void => {
    const rest = waitingUntil === null ? "" : `, all rest for ${Math.ceil((waitingUntil - Date.now()) / 1_000)} s`;
    const note = `${perSecond.toFixed(0)} a second${rest}`;
    if (bar === undefined) console.log(`${done}/${total} names, ${note}`);
    else bar.update(done, { note });
  };
  return { show, stop: () => bar?.stop() };
}
