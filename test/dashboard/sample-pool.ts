import { systemClock } from "../../src/common/clock.js";
import { OutcomeUnknownError } from "../../src/errors.js";
import type { AddOptions } from "../../src/options/options.js";
import { SessionPool } from "../../src/session-pool.js";
import { type FakeClient, FakeTelegram } from "../fakes/fake-telegram.js";
import { sessionString } from "../fakes/sessions.js";
import { FakeRpcError } from "../fakes/telegram-errors.js";

const NAMES =
  "alice bob carol dave erin frank grace heidi ivan judy karl laura mallory nina oscar peggy quentin rupert sybil trent ursula victor wendy xenia yusuf zoe".split(
    " ",
  );

const METHODS = ["contacts.ResolveUsername", "messages.SendMessage", "channels.JoinChannel", "messages.GetHistory"];

/** A pool with a bit of everything, on a fake of Telegram: for pictures. */
export class SamplePool implements AsyncDisposable {
  readonly pool: SessionPool<FakeClient>;
  readonly #telegram: FakeTelegram;
  readonly #stop = new AbortController();
  readonly #work: Promise<unknown>[] = [];

  private constructor(pool: SessionPool<FakeClient>, telegram: FakeTelegram) {
    this.pool = pool;
    this.#telegram = telegram;
  }

  static async open(): Promise<SamplePool> {
    const telegram = new FakeTelegram(systemClock);
    const pool = await SessionPool.open({ client: telegram, traceLeases: true, cooldownScope: "session" });
    return new SamplePool(pool, telegram);
  }

  async fill(): Promise<void> {
    const { pool } = this;
    for (const [index, name] of NAMES.entries()) {
      const host = ["203.0.113.7", "203.0.113.8", undefined][index % 3];
      const proxy = host === undefined ? {} : { profile: { proxy: `socks5://user:hunter2@${host}:1080` } };
      const options: AddOptions = {
        tags: [["eu", "us", "asia"][index % 3] ?? "eu", ...(index % 5 === 0 ? ["warm"] : [])],
        ...proxy,
      };
      await pool.add(name, sessionString(name), options);
    }
  }

  /** Lets calls be refused, sessions die and a `map` run. */
  async makeTrouble(): Promise<void> {
    const { pool } = this;
    this.#telegram.onCall = ({ number, method }) => {
      if (number % 9 === 0) throw new FakeRpcError(420, `FLOOD_WAIT_${20 + ((number * 37) % 900)}`);
      if (number === 40) throw new FakeRpcError(401, "AUTH_KEY_UNREGISTERED");
      if (number === 75) throw new FakeRpcError(401, "USER_DEACTIVATED_BAN");
      return method;
    };
    for (let index = 0; index < 110; index++) {
      const method = METHODS[(index * index) % METHODS.length] ?? "messages.SendMessage";
      await pool.use((client) => client.call(method), { retry: "any", wait: false }).catch(() => {});
    }
    this.#telegram.onCall = () => undefined;
    for (const seconds of [40, 700]) {
      const lease = await pool.acquire();
      lease.coolDown(seconds, { method: "contacts.ResolveUsername" });
      lease.coolDown(seconds * 2, { peer: "channel:1234567890" });
      lease.release();
    }
    await pool.disable("zoe", "on holiday");
    for (let index = 0; index < 3; index++) await pool.acquire();
    this.#startMap();
  }

  #startMap(): void {
    const items = Array.from({ length: 400 }, (_, index) => index);
    const work = async (client: FakeClient, item: number): Promise<unknown> => {
      await new Promise((resolve) => setTimeout(resolve, 60));
      if (item % 60 === 7) throw new OutcomeUnknownError("messages.SendMessage was not answered.", "unknown");
      return client.call("messages.SendMessage");
    };
    const run = this.pool.map(items, work, { concurrency: 2, signal: this.#stop.signal });
    this.#work.push(
      (async () => {
        for await (const _ of run);
      })().catch(() => {}),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#work);
    await this.pool.destroy();
  }
}
