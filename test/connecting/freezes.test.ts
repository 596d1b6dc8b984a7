import { describe, expect, test } from "vitest";
import { READ, WRITE } from "../fakes/fake-telegram.js";
import { openPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { FakeRpcError } from "../fakes/telegram-errors.js";
import { twoHosts } from "../fakes/two-hosts.js";
import { settled } from "../fakes/virtual-clock.js";

const HOUR_MS = 3_600_000;
const CONFIG = "help.GetAppConfig";

/** What `help.getAppConfig` answers for a frozen account; the dates in seconds. */
function config(since: number, until?: number): object {
  const dates = { freeze_since_date: since, freeze_until_date: until };
  const value = Object.entries(dates)
    .filter(([, date]) => date !== undefined)
    .map(([key, date]) => ({ key, value: { className: "JsonNumber", value: date } }));
  return { className: "help.AppConfig", hash: 1, config: { className: "JsonObject", value } };
}

const frozen = (): FakeRpcError => new FakeRpcError(420, "FROZEN_METHOD_INVALID");

describe("a freeze", () => {
  test("its end - is asked for once, and ends the restriction; later refusals ask no more", async () => {
    const { pool, telegram, clock, events } = await openPool({ isAskable: true, sessions: ["a"] });
    const until = Math.ceil(clock.now() / 1_000) + 3_600;
    telegram.onCall = ({ method }) => {
      if (method === CONFIG) return config(5, until);
      if (method !== WRITE) return "ok";
      throw frozen();
    };
    const lease = await pool.acquire();
    for (let call = 0; call < 3; call++) await lease.client.call(WRITE).catch(() => {});
    lease.release();
    await settled();
    expect(telegram.calls.filter(({ method }) => method === CONFIG)).toHaveLength(1);
    await clock.advance(until * 1_000 - clock.now() - 1);
    expect(pool.get("a")?.state).toBe("restricted");
    await clock.advance(1);
    expect({ state: pool.get("a")?.state, restricted: events("restricted").length }).toEqual({
      state: "free",
      restricted: 1,
    });
  });

  test("an end that is not answered, refused or not named - there is none, and it is not asked for again", async () => {
    const answers: readonly (() => unknown)[] = [
      () => new Promise(() => {}),
      () => {
        throw frozen();
      },
      () => config(5),
      () => "no configuration",
    ];
    for (const answer of answers) {
      const { pool, telegram, clock } = await openPool({ isAskable: true, sessions: ["a"], callTimeoutMs: 1_000 });
      telegram.onCall = ({ method }) => {
        if (method === CONFIG) return answer();
        throw frozen();
      };
      await pool.use((client) => client.call(WRITE), { retry: "none" }).catch(() => {});
      await clock.advance(48 * HOUR_MS);
      expect(telegram.calls.filter(({ method }) => method === CONFIG)).toHaveLength(1);
      expect(pool.get("a")?.state).toBe("restricted");
    }
  });

  test("close() while its end is asked for - ends at once", async () => {
    const { pool, telegram, clock } = await openPool({ isAskable: true, sessions: ["a"] });
    telegram.onCall = ({ method }) => {
      if (method === CONFIG) return new Promise(() => {});
      throw frozen();
    };
    await pool.use((client) => client.call(WRITE), { retry: "none" }).catch(() => {});
    const closed = watch(pool.close());
    await clock.advance(0);
    expect({ state: closed.state, pending: clock.pending }).toEqual({ state: "resolved", pending: 0 });
  });

  test("of another process - restricts here until the same end, which may be learned later", async () => {
    const { one, two, clock, telegram } = await twoHosts({ idleTimeoutMs: 0, isAskable: true });
    const until = Math.ceil(clock.now() / 1_000) + 7_200;
    let answer: (value: unknown) => void = () => {};
    telegram.onCall = ({ method }) => {
      if (method === CONFIG) return new Promise((resolve) => (answer = resolve));
      if (method !== WRITE) return "ok";
      throw frozen();
    };
    const lease = await one.pool.acquire();
    await lease.client.call(WRITE).catch(() => {});
    await clock.advance(30_000);
    expect(two.pool.get("a")?.state).toBe("restricted");
    answer(config(5, until));
    await settled();
    lease.release();
    await clock.advance(60_000);
    await clock.advance(until * 1_000 - clock.now() - 1);
    expect([one.pool.get("a")?.state, two.pool.get("a")?.state]).toEqual(["restricted", "restricted"]);
    await clock.advance(1);
    expect([one.pool.get("a")?.state, two.pool.get("a")?.state]).toEqual(["free", "free"]);
  });

  test("of another process that this one reads only when it claims the session - serves no caller that may write", async () => {
    const { one, two, telegram } = await twoHosts({ idleTimeoutMs: 0, isAskable: true });
    telegram.onCall = ({ method }) => {
      if (method === WRITE) throw frozen();
      return method;
    };
    await one.pool.use((client) => client.call(WRITE), { retry: "none" }).catch(() => {});
    await settled();
    telegram.calls.length = 0;
    expect(two.pool.get("a")?.state).toBe("free");
    await expect(two.pool.use((client) => client.call(READ))).rejects.toMatchObject({ code: "NO_SESSION_AVAILABLE" });
    expect(telegram.calls).toEqual([]);
    expect(await two.pool.use((client) => client.call(READ), { allowFrozen: true })).toBe(READ);
  });

  test("enable() - ends it; the end of the next one is asked for again", async () => {
    const { pool, telegram } = await openPool({ isAskable: true, sessions: ["a"] });
    telegram.onCall = ({ method }) => {
      if (method === CONFIG) return config(5);
      throw frozen();
    };
    for (let freeze = 1; freeze <= 2; freeze++) {
      await pool.use((client) => client.call(WRITE), { retry: "none" }).catch(() => {});
      await settled();
      expect(telegram.calls.filter(({ method }) => method === CONFIG)).toHaveLength(freeze);
      await pool.enable("a");
      expect(pool.get("a")?.state).toBe("free");
    }
  });
});

describe("a freeze of an account with two sessions", () => {
  const notFrozen = (): object => ({
    className: "help.AppConfig",
    config: {
      className: "JsonObject",
      value: [{ key: "channels_limit_default", value: { className: "JsonNumber", value: 500 } }],
    },
  });

  test("restricts both until the same end; a complete answer to one frees both", async () => {
    const { pool, telegram, clock, events } = await openPool({ isAskable: true });
    await pool.addMany(["a1", "a2"].map((id) => ({ id, session: sessionString(id), accountId: "5000000001" })));
    const until = Math.ceil(clock.now() / 1_000) + 3_600;
    let answer: object = config(5, until);
    telegram.onCall = ({ method }) => {
      if (method === "users.GetUsers") return [{ className: "User", self: true, id: 5_000_000_001n }];
      if (method === CONFIG) return answer;
      throw frozen();
    };
    Object.assign(telegram, { ownUserRequest: () => ({ className: "users.GetUsers" }) });
    await pool.use((client) => client.call(WRITE), { id: "a1", retry: "none" }).catch(() => {});
    await settled();
    expect(pool.sessions().map(({ state }) => state)).toEqual(["restricted", "restricted"]);
    expect(telegram.calls.filter(({ method }) => method === CONFIG)).toHaveLength(1);
    answer = notFrozen();
    expect(await pool.check("a2")).toMatchObject({ isAlive: true, isFrozen: false });
    await settled();
    expect(pool.sessions().map(({ state }) => state)).toEqual(["free", "free"]);
    expect(events("recovered").map(({ id }) => id)).toEqual(expect.arrayContaining(["a1", "a2"]));
  });
});
