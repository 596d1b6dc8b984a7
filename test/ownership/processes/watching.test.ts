import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { SessionPool } from "../../../src/index.js";
import { isServerThere } from "../../adapters/storage/servers.js";
import { watchChild } from "../../canary/output-watch.js";
import { endClaimants, startClaimants } from "./contest.js";
import { makePlace, openPlace, type PlaceAddress, POSTGRES_URL, REDIS_URL } from "./places.js";
import { Referee, refereedClient } from "./refereed-client.js";

/** Far more than a second, for a busy machine: without being told a pool would look every 20 seconds. */
const SEEN_WITHIN_MS = 8_000;

const PROBES = 3;

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
  // Who subscribes takes a moment, and what is told meanwhile is missed.
  for (let probe = 0; pool.get(`probe-${probe - 1}`) === undefined; probe++) {
    await sees("add", `probe-${probe}`, "free").catch((error) => {
      if (probe === PROBES) throw error;
    });
  }
  return { pool, sees };
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
});
