import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../../src/common/clock.js";
import { SessionPool, type SessionStorage } from "../../../src/index.js";
import { isServerThere } from "../../adapters/storage/servers.js";
import { watchChild } from "../../canary/output-watch.js";
import { FakeTelegram } from "../../fakes/fake-telegram.js";
import { deferred } from "../../fakes/pools.js";
import { sessionString } from "../../fakes/sessions.js";
import { endClaimants, startClaimants } from "./contest.js";
import { makePlace, openPlace, type PlaceAddress, POSTGRES_URL, REDIS_URL } from "./places.js";
import { Referee, refereedClient } from "./refereed-client.js";

/** Far more than a second, for a busy machine: without being told a pool would look every 20 seconds. */
const SEEN_WITHIN_MS = 8_000;

const isThere = {
  sqlite: true,
  redis: await isServerThere("Redis", REDIS_URL),
  postgres: await isServerThere("Postgres", POSTGRES_URL),
};

/** A process that changes things, and a pool of this one that watches them. */
async function watched(engine: PlaceAddress["engine"]) {
  const folder = mkdtempSync(join(tmpdir(), "watching-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const place = await makePlace(engine);
  onTestFinished(() => place.drop());
  const [other] = await startClaimants(1);
  if (other === undefined) throw new Error("one was started");
  onTestFinished(() => endClaimants([other]));
  watchChild("a claimant", other.process);
  const contest = { address: place.address, folder: join(folder, "locks"), seed: 1, idleTimeoutMs: 0 };
  other.tell("take", contest);
  const { storage, end } = openPlace(place.address);
  onTestFinished(end);
  await other.said("opened");
  const referee = new Referee(contest.folder);
  const pool = await SessionPool.open({ client: refereedClient(referee), storage, idleTimeoutMs: 0 });
  onTestFinished(() => pool.destroy());
  let changes = 0;
  /** The other process does something to the session; this one sees it so in time. */
  const sees = async (change: string, id: string, state: string | undefined): Promise<void> => {
    changes++;
    other.tell(change, { id });
    await other.said("done", changes);
    await expect.poll(() => pool.get(id)?.state, { timeout: SEEN_WITHIN_MS, interval: 5 }).toBe(state);
  };
  return { pool, sees };
}

async function poolOn(storage: SessionStorage) {
  const pool = await SessionPool.open({ client: new FakeTelegram(systemClock), storage });
  onTestFinished(() => pool.destroy());
  return pool;
}

/** The storage on a server that is slow to subscribe its watch. */
function subscribedAfter(isReady: Promise<void>, storage: SessionStorage): SessionStorage {
  return new Proxy(storage, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target);
      if (name === "watch") {
        return (...callbacks: Parameters<NonNullable<SessionStorage["watch"]>>) => {
          let stop: (() => void) | undefined;
          void isReady.then(() => {
            stop = target.watch?.(...callbacks);
          });
          return () => stop?.();
        };
      }
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

describe.each(["sqlite", "redis", "postgres"] as const)("%s", (engine) => {
  test.skipIf(!isThere[engine])("shows changes of another process long before a third of the ttl", async () => {
    const { pool, sees } = await watched(engine);
    await sees("add", "a", "free");
    await sees("hold", "a", "foreign");
    const taken = pool.acquire({ id: "a", wait: 5_000 });
    await sees("release", "a", "leased");
    (await taken).release();
    await sees("cool", "a", "cooling");
    await sees("disable", "a", "disabled");
    await sees("remove", "a", undefined);
  });

  test.skipIf(!isThere[engine])("shows a change from before it listened as soon as it listens", async () => {
    const place = await makePlace(engine);
    onTestFinished(() => place.drop());
    const [here, there] = [openPlace(place.address), openPlace(place.address)];
    onTestFinished(async () => void (await Promise.all([here.end(), there.end()])));
    const subscribing = deferred();
    const pool = await poolOn(subscribedAfter(subscribing.promise, here.storage));
    const other = await poolOn(there.storage);
    await other.add("a", sessionString("a"));
    expect(pool.get("a")).toBeUndefined();
    subscribing.resolve();
    await expect.poll(() => pool.get("a")?.state, { timeout: SEEN_WITHIN_MS, interval: 5 }).toBe("free");
  });
});
