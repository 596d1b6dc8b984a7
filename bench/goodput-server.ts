import { Api, TelegramClient } from "telegram";
import { Logger, LogLevel } from "telegram/extensions/Logger.js";
import { StringSession } from "telegram/sessions/index.js";
import { type Budgets, SessionPool, type SessionPoolOptions } from "telegram-session-pool";
import { gramjs } from "telegram-session-pool/gramjs";
import { type ForkedTestServer, forkTestServer, type TestServerAccount } from "telegram-session-pool/testing";

/*
 * The part of bench/goodput.ts over the test server: what sessions get done when the limits are not known, beside a pool that
 * knows them. One server serves all contenders at the same time, each on accounts of its own, so that a busy machine hurts
 * all of them alike.
 */

const SESSIONS = 20;
/** Callers of each method. */
const CALLERS = 20;
const LATENCY_MS = 5;
/** The oracle knows the limits; that the wire is not always equally fast nobody can know. */
const ORACLE_MARGIN = 1.01;

interface Method {
  readonly name: string;
  readonly calls: number;
  readonly perMs: number;
  request(): Api.AnyRequest;
}

interface Limit {
  readonly calls: number;
  readonly perMs: number;
}

/** Two methods, with a limit for each. */
function methodsWith(resolving: Limit, sending: Limit): readonly Method[] {
  return [
    {
      name: "contacts.ResolveUsername",
      ...resolving,
      request: () => new Api.contacts.ResolveUsername({ username: "user1" }),
    },
    {
      name: "messages.SendMessage",
      ...sending,
      request: () => new Api.messages.SendMessage({ peer: new Api.InputPeerSelf(), message: "Good morning." }),
    },
  ];
}

/** A limit of the test server, and how it is measured. */
export interface ServerShape {
  readonly name: string;
  readonly options: { readonly shape: "bucket" | "window"; readonly penalty?: number; readonly waitSeconds?: number };
  readonly methods: readonly Method[];
  readonly runMs: number;
  /** @default 20 */
  readonly sessions?: number;
  /** Callers of each method. @default 20 */
  readonly callers?: number;
  /** What comes before does not count. @default the first window of each method */
  readonly settlesMs?: number;
  /** Whether it is measured only when it is named. */
  readonly isLong?: boolean;
}

const METHODS = methodsWith({ calls: 20, perMs: 5_000 }, { calls: 12, perMs: 3_700 });
/** Waits that are longer than their windows. */
const SHORT = methodsWith({ calls: 8, perMs: 2_000 }, { calls: 12, perMs: 3_000 });
const LONG = methodsWith({ calls: 20, perMs: 10_000 }, { calls: 20, perMs: 10_000 });

export const SERVER_SHAPES: readonly ServerShape[] = [
  { name: "token bucket", options: { shape: "bucket" }, methods: METHODS, runMs: 30_000 },
  { name: "fixed window", options: { shape: "window" }, methods: METHODS, runMs: 30_000 },
  { name: "window, penalty doubles", options: { shape: "window", penalty: 2 }, methods: METHODS, runMs: 30_000 },
  {
    name: "bucket, FLOOD_WAIT_4",
    options: { shape: "bucket", waitSeconds: 4 },
    methods: SHORT,
    runMs: 90_000,
    settlesMs: 30_000,
    isLong: true,
  },
  {
    name: "window, FLOOD_WAIT_4",
    options: { shape: "window", waitSeconds: 4 },
    methods: SHORT,
    runMs: 90_000,
    settlesMs: 30_000,
    isLong: true,
  },
  {
    name: "12 accounts, 36 callers, FLOOD_WAIT_4",
    options: { shape: "window", waitSeconds: 4 },
    methods: SHORT.slice(0, 1),
    runMs: 90_000,
    sessions: 12,
    callers: 36,
    settlesMs: 30_000,
  },
  {
    name: "window, FLOOD_WAIT_60",
    options: { shape: "window", waitSeconds: 60 },
    methods: LONG,
    runMs: 480_000,
    settlesMs: 240_000,
    isLong: true,
  },
];

/**
 * How much a call counts: nothing while it settles, then more and more over the next window, less and less over the last
 * one. So it does not matter when in a window a burst comes.
 */
function weightOf(atMs: number, { perMs }: Method, { runMs, settlesMs = perMs }: ServerShape): number {
  const rise = Math.min(Math.max((atMs - settlesMs) / perMs, 0), 1);
  const fall = Math.min(Math.max((runMs - atMs) / perMs, 0), 1);
  return Math.min(rise, fall);
}

const CONTENDERS = ["oracle", "learn", "rotation", "gramjs"] as const;
type Contender = (typeof CONTENDERS)[number];

const WHO: Readonly<Record<Contender, string>> = {
  oracle: "the pool, limits given",
  learn: 'the pool, budgets: "learn"',
  rotation: "the pool, no budgets",
  gramjs: "one account, GramJS sleeps",
};

/** What one contender did once it had settled. */
interface Score {
  readonly perSecond: number;
  readonly floods: number;
  readonly floodShare: number;
  readonly firstFloods: number;
  readonly insideWait: number;
}

async function accountsFor(
  server: ForkedTestServer,
  contender: Contender,
  sessions: number,
): Promise<TestServerAccount[]> {
  const count = contender === "gramjs" ? 1 : sessions;
  const accounts: TestServerAccount[] = [];
  for (let index = 0; index < count; index++) {
    accounts.push(await server.addAccount({ name: `${contender}-${index}` }));
  }
  return accounts;
}

/** Begins at `startAt`, when every client is connected, and ends when nobody may call any more. */
interface Run {
  readonly shape: ServerShape;
  readonly startAt: number;
  readonly endAt: number;
}

async function openPool(
  server: ForkedTestServer,
  accounts: readonly TestServerAccount[],
  budgets: Budgets | undefined,
): Promise<SessionPool<TelegramClient>> {
  const options: SessionPoolOptions<TelegramClient> = {
    client: gramjs({ apiId: 1, apiHash: "bench", clientOptions: server.clientOptions }),
    cooldownScope: "method",
    trustServers: true,
    budgets,
  };
  const pool = await SessionPool.open(options);
  for (const { name, session } of accounts) await pool.add(name, session);
  const connect = ({ name }: TestServerAccount) => pool.acquire({ id: name }).then((lease) => lease.release());
  await Promise.all(accounts.map(connect));
  return pool;
}

async function callAll(call: (method: Method) => Promise<unknown>, callers: number, run: Run): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, run.startAt - Date.now()));
  const work = async (method: Method): Promise<void> => {
    while (Date.now() < run.endAt) await call(method).catch(() => pause());
  };
  await Promise.all(run.shape.methods.flatMap((method) => Array.from({ length: callers }, () => work(method))));
}

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 50));

async function prepare(
  server: ForkedTestServer,
  contender: Contender,
  { methods, sessions = SESSIONS, callers = CALLERS }: ServerShape,
): Promise<(run: Run) => Promise<void>> {
  const accounts = await accountsFor(server, contender, sessions);
  if (contender === "gramjs") return prepareGramjs(server, accounts[0]?.session ?? "");
  const known = methods.map(({ name, calls, perMs }) => [name, { calls, perMs: perMs * ORACLE_MARGIN }] as const);
  const given: Readonly<Record<Exclude<Contender, "gramjs">, Budgets | undefined>> = {
    oracle: Object.fromEntries(known),
    learn: "learn",
    rotation: undefined,
  };
  const pool = await openPool(server, accounts, given[contender]);
  return async (run) => {
    const call = ({ request }: Method): Promise<unknown> =>
      pool.invoke(request, { method: undefined, wait: Math.max(run.endAt - Date.now(), 0) });
    await callAll(call, callers, run);
    await pool.destroy();
  };
}

async function prepareGramjs(server: ForkedTestServer, session: string): Promise<(run: Run) => Promise<void>> {
  const client = new TelegramClient(new StringSession(session), 1, "bench", {
    ...server.clientOptions,
    baseLogger: new Logger(LogLevel.NONE),
  });
  await client.connect();
  return async (run) => {
    const ended = new Promise<void>((resolve) => setTimeout(resolve, run.endAt - Date.now()));
    await Promise.race([callAll(({ request }) => client.invoke(request()), 1, run), ended]);
    await client.destroy();
  };
}

async function measure(shape: ServerShape): Promise<Readonly<Record<Contender, Score>>> {
  await using server = await forkTestServer({ accounts: 0, latencyMs: LATENCY_MS });
  await server.addAccount({ name: "user1" });
  for (const { name, calls, perMs } of shape.methods) await server.limit(name, { calls, perMs, ...shape.options });
  const runs: ((run: Run) => Promise<void>)[] = [];
  for (const contender of CONTENDERS) runs.push(await prepare(server, contender, shape));
  const startAt = Date.now() + 200;
  const run = { shape, startAt, endAt: startAt + shape.runMs };
  await Promise.all(runs.map((go) => go(run)));
  const report = await server.report({ scope: "method" });
  const scores = CONTENDERS.map((contender) => [contender, scoreOf(report, contender, run)] as const);
  return Object.fromEntries(scores) as Record<Contender, Score>;
}

type Report = Awaited<ReturnType<ForkedTestServer["report"]>>;

function scoreOf(report: Report, contender: Contender, { shape, startAt }: Run): Score {
  const isOwn = ({ account }: { readonly account: string }): boolean => account.startsWith(`${contender}-`);
  let perSecond = 0;
  let floods = 0;
  let firstFloods = 0;
  let answered = 0;
  for (const method of shape.methods) {
    const settlesMs = shape.settlesMs ?? method.perMs;
    const calls = report.calls.filter((call) => isOwn(call) && call.method === method.name && !call.isConnect);
    const later = calls.filter(({ at }) => at - startAt >= settlesMs);
    const isFlood = ({ outcome }: { readonly outcome: string }): boolean => outcome.startsWith("FLOOD");
    const weights = later
      .filter(({ outcome }) => outcome === "ok")
      .map(({ at }) => weightOf(at - startAt, method, shape));
    perSecond += (weights.reduce((sum, weight) => sum + weight, 0) * 1_000) / (shape.runMs - settlesMs - method.perMs);
    floods += later.filter(isFlood).length;
    answered += later.length;
    firstFloods += calls.filter((call) => isFlood(call) && call.at - startAt < settlesMs).length;
  }
  const insideWait = report.violations.filter(isOwn).length;
  return { perSecond, floods, floodShare: floods / Math.max(answered, 1), firstFloods, insideWait };
}

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;

/** Shares of the oracle. A bucket's reserve hides its rate, so less of it can be found. */
const GOALS = { window: 0.95, bucket: 0.9 } as const;

/** Measures one shape, prints its table and returns the goals that were missed. */
export async function measureOverServer(shape: ServerShape): Promise<readonly string[]> {
  const scores = await measure(shape);
  const rows = CONTENDERS.map((contender) => {
    const { perSecond, firstFloods, floods, floodShare, insideWait } = scores[contender];
    return {
      limit: shape.name,
      who: WHO[contender],
      "calls/s": perSecond.toFixed(1),
      "of the oracle": percent(perSecond / scores.oracle.perSecond),
      "floods before": firstFloods,
      "floods after": floods,
      "share of calls": percent(floodShare),
      "inside a wait": insideWait,
    };
  });
  console.table(rows);
  const { learn, oracle } = scores;
  const missed: string[] = [];
  const goal = GOALS[shape.options.shape];
  if (learn.perSecond < goal * oracle.perSecond) missed.push(`${shape.name}: under ${percent(goal)} of the oracle`);
  if (learn.floodShare > 0.01) missed.push(`${shape.name}: more than 1 % of calls answered by a flood`);
  if (learn.insideWait > 0) missed.push(`${shape.name}: calls inside a wait`);
  return missed;
}
