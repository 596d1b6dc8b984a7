import { Api, TelegramClient } from "telegram";
import { Logger, LogLevel } from "telegram/extensions/Logger.js";
import { StringSession } from "telegram/sessions/index.js";
import { SessionPool } from "telegram-session-pool";
import { gramjs } from "telegram-session-pool/gramjs";
import { type ForkedTestServer, forkTestServer } from "telegram-session-pool/testing";

const ACCOUNTS = 50;
const ROUNDS = 7;

type Call = () => Promise<unknown>;

/** What one way of calling reaches, calls per second: the median of the rounds. */
interface Measured {
  readonly raw: number;
  readonly pool: number;
}

/** Runs both ways in turn, so that a busy machine hurts both. */
async function compare(raw: () => Promise<number>, pool: () => Promise<number>): Promise<Measured> {
  await raw();
  await pool();
  const rates: { raw: number[]; pool: number[] } = { raw: [], pool: [] };
  for (let round = 0; round < ROUNDS; round++) {
    rates.raw.push(await raw());
    rates.pool.push(await pool());
  }
  return { raw: median(rates.raw), pool: median(rates.pool) };
}

/** Calls per second with `atOnce` callers that each call again as soon as they are answered. */
async function rate(calls: number, atOnce: number, call: (caller: number) => Promise<unknown>): Promise<number> {
  let left = calls;
  const start = performance.now();
  await Promise.all(
    Array.from({ length: atOnce }, async (_, caller) => {
      while (left-- > 0) await call(caller);
    }),
  );
  return calls / ((performance.now() - start) / 1000);
}

async function main(): Promise<void> {
  await using server = await forkTestServer({ accounts: ACCOUNTS, record: false });
  const clients = await connectRaw(server);
  await using pool = await openPool(server);
  const self = (): Api.users.GetUsers => new Api.users.GetUsers({ id: [new Api.InputUserSelf()] });
  const one = clients[0] as TelegramClient;
  const id = server.accounts[0]?.name ?? "";
  const lease = await pool.acquire({ id });

  const sequential = await compare(
    () => rate(2_000, 1, () => one.invoke(self())),
    () => rate(2_000, 1, () => lease.client.invoke(self())),
  );
  const tenAtOnce = await compare(
    () => rate(2_000, 10, () => one.invoke(self())),
    () => rate(2_000, 10, () => lease.client.invoke(self())),
  );
  const fiftyAtOnce = await compare(
    () => rate(3_000, 50, () => one.invoke(self())),
    () => rate(3_000, 50, () => lease.client.invoke(self())),
  );
  lease.release();
  const invokeOne = await compare(
    () => rate(2_000, 1, () => one.invoke(self())),
    () => rate(2_000, 1, () => pool.invoke(self(), { id })),
  );
  const fiftyAccounts = await compare(
    () => rate(5_000, ACCOUNTS, (caller) => (clients[caller] as TelegramClient).invoke(self())),
    () => rate(5_000, ACCOUNTS, () => pool.invoke(self())),
  );
  print({
    "users.getUsers, one after the other, on a lease": sequential,
    "users.getUsers, one after the other, pool.invoke": invokeOne,
    "users.getUsers, 10 at once on one account": tenAtOnce,
    "users.getUsers, 50 at once on one account": fiftyAtOnce,
    "users.getUsers, 50 accounts at once, pool.invoke": fiftyAccounts,
  });
  await Promise.all(clients.map((client) => client.destroy()));
}

function print(rows: Readonly<Record<string, Measured>>): void {
  console.table(
    Object.fromEntries(
      Object.entries(rows).map(([name, { raw, pool }]) => [
        name,
        { "GramJS calls/s": Math.round(raw), "pool calls/s": Math.round(pool), ratio: (pool / raw).toFixed(2) },
      ]),
    ),
  );
}

async function connectRaw(server: ForkedTestServer): Promise<TelegramClient[]> {
  // Accounts of their own: one key must never be connected twice.
  const clients: TelegramClient[] = [];
  for (let index = 0; index < ACCOUNTS; index++) {
    const account = await server.addAccount({ name: `raw${index}` });
    const client = new TelegramClient(new StringSession(account.session), 1, "bench", {
      ...server.clientOptions,
      baseLogger: new Logger(LogLevel.NONE),
    });
    await client.connect();
    clients.push(client);
  }
  return clients;
}

async function openPool(server: ForkedTestServer): Promise<SessionPool<TelegramClient>> {
  const pool = await SessionPool.open({
    client: gramjs({ apiId: 1, apiHash: "bench", clientOptions: server.clientOptions }),
    trustServers: true,
  });
  for (const { name, session } of server.accounts) await pool.add(name, session);
  const calls: Call[] = server.accounts.map(
    ({ name }) =>
      () =>
        pool.use((client) => client.getMe(), { id: name }),
  );
  await Promise.all(calls.map((call) => call()));
  return pool;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

await main();
