import { describe, expect, test } from "vitest";
import { NoSessionAvailableError } from "../../src/index.js";
import { seededRandom } from "../fakes/seeded-random.js";
import { testSeed } from "../fakes/test-seed.js";
import { type Child, startChild } from "./child-processes.js";
import { SHARED_SERVERS } from "./shared-storages.js";
import { callsOf, expectPeace, message, type Pool, rejection, stage, until } from "./support.js";

const DAY = 86_400_000;
/** Of the killed processes, see processes/workers.ts. */
const CALLS_PER_DAY = 100;
const PROCESSES = 3;

const budgetsOf = (calls: number) => ({ "messages.SendMessage": { calls, perMs: DAY, durable: true } });

let texts = 0;

/** Waits for claims to be given up, and not at all for another day. */
function send(pool: Pool): Promise<unknown> {
  return pool.invoke(message(`durable ${texts++}`), { wait: 10_000 });
}

/** Sends until no session may. */
async function sendAll(pool: Pool): Promise<number> {
  for (let sent = 0; ; sent++) {
    const error = await send(pool).then(
      () => undefined,
      (cause: unknown) => cause,
    );
    if (error instanceof NoSessionAvailableError) return sent;
    if (error !== undefined) throw error;
  }
}

describe("durable limits", () => {
  test("processes that are killed while they send - no account sends more than its day, and the rest of it can be used", async () => {
    const scene = await stage({ accounts: 2 });
    const { server, open } = scene;
    const random = seededRandom(testSeed());
    const all = Array.from({ length: PROCESSES }, () => startChild(scene, "workers", "spending"));
    // The others go on while one is killed, and take its sessions over.
    for (let alive = [...all]; alive.length > 0; ) {
      await Promise.race(alive.map((child) => child.said("sent", sentBy(child) + 1)));
      await new Promise((resolve) => setTimeout(resolve, random() * 100));
      const [killed] = alive.splice(Math.floor(random() * alive.length), 1);
      expect(await killed?.kill("SIGKILL")).toBe("SIGKILL");
    }
    for (const { lines } of all) expect(lines.filter(({ word }) => word !== "sent")).toEqual([]);
    const pool = await open({ budgets: budgetsOf(CALLS_PER_DAY) });
    expect(await sendAll(pool)).toBeGreaterThan(0);
    for (const { name } of server.accounts) {
      const { length: calls } = callsOf(server, "messages.SendMessage", name);
      expect(calls).toBeLessThanOrEqual(CALLS_PER_DAY);
      // A killed process costs at most a quarter of the limit.
      expect(calls).toBeGreaterThanOrEqual(CALLS_PER_DAY - (PROCESSES * CALLS_PER_DAY) / 4);
    }
    const error = await rejection<NoSessionAvailableError>(send(pool));
    expect(Number(error.retryAt)).toBeGreaterThan(Date.now());
    expectPeace(server);
  });

  test.each(SHARED_SERVERS)(
    "over $name - a spent day is spent in the next process and beside another one",
    async ({ connect }) => {
      const create = await connect();
      if (create === undefined) return;
      const { server, open } = await stage({ accounts: 2 });
      const budgets = budgetsOf(5);
      const first = await open({ storage: create(), budgets, add: ["account1"] });
      for (let call = 0; call < 3; call++) await send(first);
      await first.close();
      const second = await open({ storage: create(), budgets, add: ["account1"] });
      expect(await sendAll(second)).toBe(2);
      const third = await open({ storage: create(), budgets, add: [], ownership: { host: "another" } });
      await expect(third.acquire({ method: "messages.sendMessage", wait: false })).rejects.toMatchObject({
        code: "NO_SESSION_AVAILABLE",
      });
      await until("all calls are counted", () => callsOf(server, "messages.SendMessage").length === 5);
      expectPeace(server);
    },
  );
});

function sentBy({ lines }: Child): number {
  return lines.filter(({ word }) => word === "sent").length;
}
