import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { isServerThere } from "../../adapters/storage/servers.js";
import { watchChild } from "../../canary/output-watch.js";
import { testSeed } from "../../fakes/test-seed.js";
import type { Child } from "./child.js";
import { endClaimants, fill, type Outcome, play, startClaimants } from "./contest.js";
import { makePlace, type Place, type PlaceAddress, POSTGRES_URL, REDIS_URL } from "./places.js";

/** `bench/claims.ts` does the same with a thousand. */
const SESSIONS = 60;
/** For a machine with much else to do. */
const TIMEOUT_MS = 60_000;

const isThere: Readonly<Record<PlaceAddress["engine"], boolean>> = {
  sqlite: true,
  redis: await isServerThere("Redis", REDIS_URL),
  postgres: await isServerThere("Postgres", POSTGRES_URL),
};

let claimants: readonly Child[] = [];

beforeAll(async () => {
  claimants = await startClaimants(8);
  for (const { process } of claimants) watchChild("a claimant", process);
}, 90_000);

afterAll(() => endClaimants(claimants));

async function filledPlace(engine: PlaceAddress["engine"], sessions: number): Promise<Place> {
  const place = await makePlace(engine);
  onTestFinished(() => place.drop());
  await fill(place, sessions);
  return place;
}

function expectFairPlay({ scores, ownersAfterwards }: Outcome): void {
  expect(scores.flatMap(({ violations }) => violations)).toEqual([]);
  expect(scores.flatMap(({ failures }) => failures)).toEqual([]);
  expect([...ownersAfterwards.values()].filter((owner) => owner !== null)).toEqual([]);
}

describe.each(["sqlite", "redis", "postgres"] as const)("%s", (engine) => {
  test.skipIf(!isThere[engine])(
    "two, then eight processes claim the same sessions in random order: each session has one owner",
    async () => {
      const place = await filledPlace(engine, SESSIONS);
      const seed = testSeed();
      for (const count of [2, 8]) {
        const outcome = await play({ place, processes: claimants.slice(0, count), game: { word: "claim" }, seed });
        expectFairPlay(outcome);
        const { scores, owners } = outcome;
        expect(scores.flatMap(({ lost }) => lost)).toEqual([]);
        const claimed = scores.flatMap(({ pid, connected }) => connected.map((id) => [id, pid] as const));
        expect(claimed).toHaveLength(SESSIONS);
        expect(new Map(claimed)).toEqual(owners);
      }
    },
    TIMEOUT_MS,
  );

  test.skipIf(!isThere[engine])(
    "eight processes pass six sessions on: none is connected in two at once",
    async () => {
      const place = await filledPlace(engine, 6);
      const game = { word: "pass on", rounds: 10 } as const;
      const outcome = await play({
        place,
        processes: claimants,
        game,
        seed: testSeed(),
        ttlMs: 1_000,
        idleTimeoutMs: 0,
      });
      expectFairPlay(outcome);
      expect(outcome.scores.map(({ connects }) => connects >= 10)).toEqual(Array(8).fill(true));
    },
    TIMEOUT_MS,
  );
});
