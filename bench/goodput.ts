import { Api, TelegramClient } from "telegram";
import { Logger, LogLevel } from "telegram/extensions/Logger.js";
import { StringSession } from "telegram/sessions/index.js";
import { type Budgets, SessionPool, type SessionPoolOptions } from "telegram-session-pool";
import { gramjs } from "telegram-session-pool/gramjs";
import { type DataCentreAccount, type ForkedDataCentre, forkDataCentre } from "telegram-session-pool/testing";

/*
 * What 20 sessions get done when the limits are not known, beside a pool that knows them. One data centre serves all
 * contenders at the same time, each on accounts of its own, so that a busy machine hurts all of them alike.
 */

const SESSIONS = 20;
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

const METHODS: readonly Method[] = [
  {
    name: "contacts.ResolveUsername",
    calls: 20,
    perMs: 5_000,
    request: () => new Api.contacts.ResolveUsername({ username: "user1" }),
  },
  {
    name: "messages.SendMessage",
    calls: 12,
    perMs: 3_700,
    request: () => new Api.messages.SendMessage({ peer: new Api.InputPeerSelf(), message: "Good morning." }),
  },
];

const RUN_MS = 30_000;
/**
 * How much a call counts: nothing in the first window, then more and more over the next, less and less over the last one.
 * So it does not matter when in a window a burst comes.
 */
function weightOf(atMs: number, { perMs }: Method): number {
  const rise = Math.min(Math.max(atMs / perMs - 1, 0), 1);
  const fall = Math.min(Math.max((RUN_MS - atMs) / perMs, 0), 1);
  return Math.min(rise, fall);
}

const SHAPES = [
  { name: "token bucket", options: { shape: "bucket" } },
  { name: "fixed window", options: { shape: "window" } },
  { name: "window, penalty doubles", options: { shape: "window", penalty: 2 } },
] as const;

const CONTENDERS = ["oracle", "learn", "rotation", "gramjs"] as const;
type Contender = (typeof CONTENDERS)[number];

const WHO: Readonly<Record<Contender, string>> = {
  oracle: "the pool, limits given",
  learn: 'the pool, budgets: "learn"',
  rotation: "the pool, no budgets",
  gramjs: "one account, GramJS sleeps",
};

/** What one contender did after the first window. */
interface Score {
  readonly perSecond: number;
  readonly floods: number;
  readonly floodShare: number;
  readonly firstFloods: number;
  readonly insideWait: number;
}

async function accountsFor(dataCentre: ForkedDataCentre, contender: Contender): Promise<DataCentreAccount[]> {
  const count = contender === "gramjs" ? 1 : SESSIONS;
  const accounts: DataCentreAccount[] = [];
  for (let index = 0; index < count; index++) {
    accounts.push(await dataCentre.addAccount({ name: `${contender}-${index}` }));
  }
  return accounts;
}

/** Begins at `startAt`, when every client is connected, and ends when nobody may call any more. */
interface Run {
  readonly startAt: number;
  readonly endAt: number;
}

async function openPool(
  dataCentre: ForkedDataCentre,
  accounts: readonly DataCentreAccount[],
  budgets: Budgets | undefined,
): Promise<SessionPool<TelegramClient>> {
  const options: SessionPoolOptions<TelegramClient> = {
    client: gramjs({ apiId: 1, apiHash: "bench", clientOptions: dataCentre.clientOptions }),
    cooldownScope: "method",
    trustServers: true,
    budgets,
  };
  const pool = await SessionPool.open(options);
  for (const { name, session } of accounts) await pool.add(name, session);
  const connect = ({ name }: DataCentreAccount) => pool.acquire({ id: name }).then((lease) => lease.release());
  await Promise.all(accounts.map(connect));
  return pool;
}

async function callAll(call: (method: Method) => Promise<unknown>, callers: number, run: Run): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, run.startAt - Date.now()));
  const work = async (method: Method): Promise<void> => {
    while (Date.now() < run.endAt) await call(method).catch(() => pause());
  };
  await Promise.all(METHODS.flatMap((method) => Array.from({ length: callers }, () => work(method))));
}

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 50));

async function prepare(dataCentre: ForkedDataCentre, contender: Contender): Promise<(run: Run) => Promise<void>> {
  const accounts = await accountsFor(dataCentre, contender);
  if (contender === "gramjs") return prepareGramjs(dataCentre, accounts[0]?.session ?? "");
  const known = METHODS.map(({ name, calls, perMs }) => [name, { calls, perMs: perMs * ORACLE_MARGIN }] as const);
  const given: Readonly<Record<Exclude<Contender, "gramjs">, Budgets | undefined>> = {
    oracle: Object.fromEntries(known),
    learn: "learn",
    rotation: undefined,
  };
  const pool = await openPool(dataCentre, accounts, given[contender]);
  return async (run) => {
    const call = ({ request }: Method): Promise<unknown> =>
      pool.invoke(request, { method: undefined, wait: Math.max(run.endAt - Date.now(), 0) });
    await callAll(call, CALLERS, run);
    await pool.destroy();
  };
}

async function prepareGramjs(dataCentre: ForkedDataCentre, session: string): Promise<(run: Run) => Promise<void>> {
  const client = new TelegramClient(new StringSession(session), 1, "bench", {
    ...dataCentre.clientOptions,
    baseLogger: new Logger(LogLevel.NONE),
  });
  await client.connect();
  return async (run) => {
    const ended = new Promise<void>((resolve) => setTimeout(resolve, run.endAt - Date.now()));
    await Promise.race([callAll(({ request }) => client.invoke(request()), 1, run), ended]);
    await client.destroy();
  };
}

async function measure(shape: (typeof SHAPES)[number]): Promise<Readonly<Record<Contender, Score>>> {
  await using dataCentre = await forkDataCentre({ accounts: 0, latencyMs: LATENCY_MS });
  await dataCentre.addAccount({ name: "user1" });
  for (const { name, calls, perMs } of METHODS) await dataCentre.limit(name, { calls, perMs, ...shape.options });
  const runs: ((run: Run) => Promise<void>)[] = [];
  for (const contender of CONTENDERS) runs.push(await prepare(dataCentre, contender));
  const startAt = Date.now() + 200;
  const run = { startAt, endAt: startAt + RUN_MS };
  await Promise.all(runs.map((go) => go(run)));
  const report = await dataCentre.report({ scope: "method" });
  const scores = CONTENDERS.map((contender) => [contender, scoreOf(report, contender, startAt)] as const);
  return Object.fromEntries(scores) as Record<Contender, Score>;
}

type Report = Awaited<ReturnType<ForkedDataCentre["report"]>>;

function scoreOf(report: Report, contender: Contender, startAt: number): Score {
  const isOwn = ({ account }: { readonly account: string }): boolean => account.startsWith(`${contender}-`);
  let perSecond = 0;
  let floods = 0;
  let firstFloods = 0;
  let answered = 0;
  for (const method of METHODS) {
    const calls = report.calls.filter((call) => isOwn(call) && call.method === method.name && !call.isConnect);
    const later = calls.filter(({ at }) => at - startAt >= method.perMs);
    const isFlood = ({ outcome }: { readonly outcome: string }): boolean => outcome.startsWith("FLOOD");
    const weights = later.filter(({ outcome }) => outcome === "ok").map(({ at }) => weightOf(at - startAt, method));
    perSecond += (weights.reduce((sum, weight) => sum + weight, 0) * 1_000) / (RUN_MS - 2 * method.perMs);
    floods += later.filter(isFlood).length;
    answered += later.length;
    firstFloods += calls.filter((call) => isFlood(call) && call.at - startAt < method.perMs).length;
  }
  const insideWait = report.violations.filter(isOwn).length;
  return { perSecond, floods, floodShare: floods / Math.max(answered, 1), firstFloods, insideWait };
}

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;

const rows: Record<string, string | number>[] = [];
const missed: string[] = [];
/** `npx tsx bench/goodput.ts penalty` runs one shape alone. */
const [only = ""] = process.argv.slice(2);
for (const shape of SHAPES.filter(({ name }) => name.includes(only))) {
  const scores = await measure(shape);
  for (const contender of CONTENDERS) {
    const score = scores[contender];
    rows.push({
      limit: shape.name,
      who: WHO[contender],
      "calls/s": score.perSecond.toFixed(1),
      "of the oracle": percent(score.perSecond / scores.oracle.perSecond),
      "floods, first window": score.firstFloods,
      "floods after": score.floods,
      "share of calls": percent(score.floodShare),
      "inside a wait": score.insideWait,
    });
  }
  const { learn, oracle } = scores;
  if (learn.perSecond < 0.95 * oracle.perSecond) missed.push(`${shape.name}: under 95 % of the oracle`);
  if (learn.floodShare > 0.01) missed.push(`${shape.name}: more than 1 % of calls answered by a flood`);
  if (learn.insideWait > 0) missed.push(`${shape.name}: calls inside a wait`);
}
console.table(rows);
console.log(missed.length === 0 ? "Every goal is reached." : `Missed: ${missed.join("; ")}.`);
