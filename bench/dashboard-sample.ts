import { type Clock, systemClock, type Timer } from "../src/common/clock.js";
import { OutcomeUnknownError } from "../src/errors.js";
import { SessionPool } from "../src/session-pool.js";
import { type FakeClient, FakeTelegram } from "../test/fakes/fake-telegram.js";
import { seededRandom } from "../test/fakes/seeded-random.js";
import { sessionString } from "../test/fakes/sessions.js";
import { FakeRpcError } from "../test/fakes/telegram-errors.js";

const NAMES: readonly string[] =
  "alice bob carol dave erin frank grace heidi ivan judy karl laura mallory nina oscar peggy quentin rupert sybil trent ursula victor wendy xenia yusuf zoe".split(
    " ",
  );
const METHODS: readonly string[] = [
  "contacts.ResolveUsername",
  "messages.SendMessage",
  "messages.SendMessage",
  "channels.JoinChannel",
  "messages.GetHistory",
  "messages.GetHistory",
];
const HOUR_MS = 3_600_000;
const STEP_MS = 10_000;

/** The clock of the system, behind by what is left of an hour that is told in seconds. */
class HurriedClock implements Clock {
  behindMs: number = HOUR_MS;

  now(): number {
    return systemClock.now() - this.behindMs;
  }

  monotonic(): number {
    return systemClock.monotonic() - this.behindMs;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    return systemClock.setTimer(delayMs, callback);
  }
}

/** A pool with a bit of everything, on a fake of Telegram: for pictures. */
export class SamplePool implements AsyncDisposable {
  readonly pool: SessionPool<FakeClient>;
  readonly #telegram: FakeTelegram;
  readonly #clock: HurriedClock;
  readonly #random: () => number = seededRandom(7);
  /** Errors that end a session, by the step at which they come. */
  readonly #fatal = new Map([
    [130, new FakeRpcError(401, "AUTH_KEY_UNREGISTERED")],
    [210, new FakeRpcError(400, "PEER_FLOOD")],
    [262, new FakeRpcError(401, "USER_DEACTIVATED_BAN")],
    [263, new FakeRpcError(401, "USER_DEACTIVATED_BAN")],
  ]);
  readonly #stop = new AbortController();
  readonly #work: Promise<unknown>[] = [];

  private constructor(pool: SessionPool<FakeClient>, telegram: FakeTelegram, clock: HurriedClock) {
    this.pool = pool;
    this.#telegram = telegram;
    this.#clock = clock;
  }

  static async open(): Promise<SamplePool> {
    const clock = new HurriedClock();
    const telegram = new FakeTelegram(clock);
    const pool = await SessionPool.open({ client: telegram, clock, traceLeases: true, callTimeoutMs: HOUR_MS * 2 });
    return new SamplePool(pool, telegram, clock);
  }

  async fill(): Promise<void> {
    for (const [index, name] of NAMES.entries()) {
      const host = ["203.0.113.7", "203.0.113.8", undefined][index % 3];
      const proxy = host === undefined ? {} : { profile: { proxy: `socks5://${host}:1080` } };
      const tags = [["eu", "us", "asia"][index % 3] ?? "eu", ...(index % 5 === 0 ? ["warm"] : [])];
      const accountId = `${5_000_000_000 + (name === "victor" ? 1 : index)}`;
      await this.pool.addMany([{ id: name, session: sessionString(name), tags, accountId, ...proxy }]);
    }
  }

  /** An hour of calls, floods and deaths, and what is under way at its end. */
  async makeHour(): Promise<void> {
    const steps = HOUR_MS / STEP_MS;
    for (let step = 0; step < steps; step++) {
      this.#clock.behindMs -= STEP_MS;
      const isBusy = step > 90 && step < 250;
      const calls = Math.round((isBusy ? 14 : 6) * (0.6 + 0.8 * this.#random()));
      this.#telegram.onCall = ({ method }) => this.#answer(method, step, steps);
      for (let call = 0; call < calls; call++) await this.#call();
      if (isBusy && step % 9 < 4) await this.#letWait(1 + Math.floor(this.#random() * 9));
    }
    this.#telegram.onCall = () => undefined;
    await this.#showCooldowns();
    await this.pool.disable("zoe", "on holiday");
    for (let index = 0; index < 2; index++) await this.pool.acquire();
    this.#startMap();
  }

  #answer(method: string, step: number, steps: number): unknown {
    const chance = method === "contacts.ResolveUsername" ? 0.07 : method === "channels.JoinChannel" ? 0.05 : 0.004;
    if (this.#random() < chance * (step > steps - 30 ? 2 : 1)) {
      const seconds = 30 + Math.floor(this.#random() * (step > steps - 30 ? 1_500 : 240));
      throw new FakeRpcError(420, `FLOOD_WAIT_${seconds}`);
    }
    const error = this.#fatal.get(step);
    this.#fatal.delete(step);
    if (error !== undefined) throw error;
    return undefined;
  }

  async #call(): Promise<void> {
    const method = METHODS[Math.floor(this.#random() * METHODS.length)] ?? "messages.SendMessage";
    await this.pool.use((client) => client.call(method), { retry: "none", wait: false }).catch(() => {});
  }

  /** So many callers wait for a session that is leased, and get it. */
  async #letWait(count: number): Promise<void> {
    const free = this.pool.sessions().find(({ state }) => state === "free");
    if (free === undefined) return;
    const lease = await this.pool.acquire({ id: free.id });
    const waiting = Array.from({ length: count }, async () => (await this.pool.acquire({ id: free.id })).release());
    lease.release();
    await Promise.allSettled(waiting);
  }

  async #showCooldowns(): Promise<void> {
    for (const [id, seconds] of [
      ["bob", 40],
      ["laura", 700],
    ] as const) {
      const lease = await this.pool.acquire({ id, wait: false }).catch(() => undefined);
      lease?.coolDown(seconds, { method: "contacts.ResolveUsername" });
      lease?.coolDown(seconds * 2, { peer: "channel:1234567890" });
      lease?.release();
    }
  }

  #startMap(): void {
    const items = Array.from({ length: 60 }, (_, index) => index);
    const work = async (client: FakeClient, item: number): Promise<unknown> => {
      await new Promise((resolve) => setTimeout(resolve, 1_400));
      if (item === 1) throw new OutcomeUnknownError("messages.SendMessage was not answered.", "unknown");
      return client.call("messages.SendMessage");
    };
    const run = this.pool.map(items, work, { concurrency: 3, signal: this.#stop.signal });
    const drain = async (): Promise<void> => {
      for await (const _ of run);
    };
    this.#work.push(drain().catch(() => {}));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#work);
    await this.pool.destroy();
  }
}
