import { performance } from "node:perf_hooks";
import type { LogLevel } from "telegram/extensions/Logger.js";
import { describe, expect, onTestFinished, test } from "vitest";
import { Logger, StringSession, TelegramClient } from "../fakes/client-library.js";
import { Api, callsOf, expectPeace, message, rejection, stage, until, within } from "./support.js";

const self = () => new Api.users.GetUsers({ id: [new Api.InputUserSelf()] });

describe("answers in one container", () => {
  test("invoke() - an error with answers behind it: all three settle", async () => {
    const { server, open } = await stage({ latencyMs: 20 });
    const pool = await open();
    using lease = await pool.acquire();
    await lease.client.getMe();
    const calls = [
      lease.client.invoke(new Api.contacts.ResolveUsername({ username: "nobody1" })),
      lease.client.invoke(new Api.contacts.ResolveUsername({ username: "user1" })),
      lease.client.invoke(self()),
    ];
    const settled = await within(2_000, Promise.allSettled(calls));
    expect(settled.map(({ status }) => status)).toEqual(["rejected", "fulfilled", "fulfilled"]);
    const packets = new Set(callsOf(server, "contacts.ResolveUsername").map(({ packet }) => packet));
    expect(packets.size).toBe(1);
  });

  test("invoke() - a flood with answers behind it: the answers arrive, nothing more is sent", async () => {
    const { server, open } = await stage({ latencyMs: 20 });
    const pool = await open();
    using lease = await pool.acquire();
    await lease.client.getMe();
    server.fail({ method: "contacts.ResolveUsername", message: "FLOOD_WAIT_30", times: 1 });
    const calls = [lease.client.invoke(new Api.contacts.ResolveUsername({ username: "user1" }))];
    for (let i = 0; i < 4; i++) calls.push(lease.client.invoke(self()) as never);
    const settled = await within(2_000, Promise.allSettled(calls));
    expect(settled[0]?.status).toBe("rejected");
    expect(settled.slice(1).every(({ status }) => status === "fulfilled")).toBe(true);
    const refused = await rejection(lease.client.invoke(self()), 500);
    expect(refused).toMatchObject({ seconds: 30 });
    expectPeace(server);
  });
});

describe("calls at once on one lease", () => {
  const ROUNDS = 30;
  const AT_ONCE = 10;

  async function percentile95(call: () => Promise<unknown>): Promise<number> {
    const times: number[] = [];
    const timed = async (): Promise<void> => {
      const started = performance.now();
      await call();
      times.push(performance.now() - started);
    };
    for (let round = 0; round < ROUNDS; round++) await Promise.all(Array.from({ length: AT_ONCE }, timed));
    times.sort((a, b) => a - b);
    return times[Math.floor(times.length * 0.95)] ?? Number.NaN;
  }

  test("invoke() - is not held up by a delayed acknowledgement: faster than bare GramJS", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const bare = new TelegramClient(new StringSession(server.sessions[1]), 1, "x", {
      ...server.clientOptions,
      baseLogger: new Logger("none" as LogLevel),
      connectionRetries: 1,
    });
    Object.assign(bare, { _loopStarted: true });
    onTestFinished(() => bare.destroy());
    await bare.connect();
    const pool = await open({ add: ["account1"] });
    using lease = await pool.acquire();
    await lease.client.invoke(self());
    const theirs = await percentile95(() => bare.invoke(self()));
    const ours = await percentile95(() => lease.client.invoke(self()));
    expect(ours).toBeLessThan(Math.max(30, theirs));
  });

  test("leasesPerSession 2 - two leases share one connection and do not disturb each other", async () => {
    const { server, open } = await stage();
    const pool = await open({ leasesPerSession: 2 });
    const [first, second] = await Promise.all([pool.acquire(), pool.acquire()]);
    expect(first.id).toBe(second.id);
    const slow = second.client.invoke(self());
    await first.client.getMe();
    first.release();
    await slow;
    await rejection(first.client.getMe(), 100);
    await second.client.getMe();
    expect(await rejection(pool.acquire({ wait: 0 }).then(() => pool.acquire({ wait: 0 })))).toMatchObject({
      code: "NO_SESSION_AVAILABLE",
    });
    second.release();
    expect(server.connections()).toHaveLength(1);
  });

  test("leasesPerSession 3 - a flood on one lease stops the sends of the others before they go out", async () => {
    const { server, open } = await stage();
    const pool = await open({ leasesPerSession: 3 });
    const leases = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()]);
    const peer = await leases[0]?.client.getInputEntity("user1");
    if (peer === undefined) throw new Error("no peer");
    server.fail({ method: "messages.SendMessage", message: "FLOOD_WAIT_30", skip: 2, times: 1 });
    const sends = leases.flatMap((lease, l) =>
      Array.from({ length: 5 }, (_, i) => lease.client.sendMessage(peer, { message: `l${l}-${i}` })),
    );
    const settled = await within(3_000, Promise.allSettled(sends));
    expect(settled.filter(({ status }) => status === "fulfilled")).toHaveLength(2);
    expect(server.inFlight()).toEqual([]);
    expectPeace(server);
    for (const lease of leases) lease.release();
    await until("cooling", () => pool.get("account1")?.state === "cooling");
  });

  test.each([1, 4])(
    "leasesPerSession %i - 50 of every kind in flight, a flood among them",
    async (leasesPerSession) => {
      const { server, open } = await stage();
      const pool = await open({ leasesPerSession });
      const leases = await Promise.all(Array.from({ length: leasesPerSession }, () => pool.acquire()));
      const peer = await leases[0]?.client.getInputEntity("user1");
      if (peer === undefined) throw new Error("no peer");
      server.fail({ message: "FLOOD_WAIT_30", when: ({ isConnect }) => !isConnect, skip: 20, times: 1 });
      const calls = Array.from({ length: 50 }, (_, i) => {
        const client = leases[i % leases.length]?.client;
        if (client === undefined) throw new Error("no client");
        if (i % 3 === 0) return client.sendMessage(peer, { message: `f${i}` });
        return i % 3 === 1 ? client.getMe() : client.invoke(new Api.account.UpdateStatus({ offline: true }));
      });
      const settled = await within(8_000, Promise.allSettled(calls));
      const { length } = server.calls();
      const late = await Promise.allSettled(leases.map(({ client }) => client.getMe()));
      expect(late.every(({ status }) => status === "rejected")).toBe(true);
      expect(server.calls()).toHaveLength(length);
      expect(settled.filter(({ status }) => status === "rejected").length).toBeGreaterThan(0);
      expect(server.violations()).toEqual([]);
      expectPeace(server);
      for (const lease of leases) lease.release();
    },
  );

  test("use() - a hundred jobs on one session run one after the other", async () => {
    const { server, open } = await stage();
    const pool = await open();
    let running = 0;
    let most = 0;
    const jobs = Array.from({ length: 100 }, () =>
      pool.use(async (client) => {
        most = Math.max(most, ++running);
        await client.invoke(self());
        running -= 1;
      }),
    );
    await within(5_000, Promise.all(jobs));
    expect(most).toBe(1);
    expect(server.connections()).toHaveLength(1);
    await pool.invoke(message("done"));
  });
});
