/**
 * Processes that race for the same sessions: that each session gets one owner, and how long it takes.
 *
 *     npx tsx bench/claims.ts [sessions]
 *
 * On one SQLite file, one Redis and one Postgres, each of two and then of eight processes claims every session that it can
 * get, in a random order, and keeps it; a lock file per session tells whether one was ever connected in two at once.
 */
import { endClaimants, fill, type Outcome, play, startClaimants } from "../test/ownership/processes/contest.js";
import { makePlace, type Place, type PlaceAddress } from "../test/ownership/processes/places.js";

const sessions = Number(process.argv[2] ?? 1_000);

interface Row {
  readonly engine: string;
  readonly processes: number;
  readonly seconds: string;
  readonly "claims per second": number;
  readonly "sessions of each": string;
  readonly unclaimed: number;
  readonly violations: number;
  readonly failures: number;
}

function rowOf(engine: string, { scores, owners, tookMs }: Outcome): Row {
  const claimed = scores.flatMap(({ pid, connected }) => connected.filter((id) => owners.get(id) === pid));
  return {
    engine,
    processes: scores.length,
    seconds: (tookMs / 1_000).toFixed(1),
    "claims per second": Math.round((claimed.length / tookMs) * 1_000),
    "sessions of each": scores.map(({ connected }) => connected.length).join(" "),
    unclaimed: sessions - new Set(claimed).size,
    violations: scores.flatMap(({ violations }) => violations).length,
    failures: scores.flatMap(({ failures, lost }) => [...failures, ...lost]).length,
  };
}

async function race(engine: PlaceAddress["engine"], place: Place): Promise<readonly Row[]> {
  await fill(place, sessions);
  const rows: Row[] = [];
  for (const count of [2, 8]) {
    const outcome = await play({ place, processes: claimants.slice(0, count), game: { word: "claim" }, seed: count });
    rows.push(rowOf(engine, outcome));
  }
  return rows;
}

async function raceOn(engine: PlaceAddress["engine"]): Promise<readonly Row[]> {
  const place = await makePlace(engine).catch((error: unknown) => {
    console.warn(`No ${engine}: ${error}`);
    return undefined;
  });
  if (place === undefined) return [];
  try {
    return await race(engine, place);
  } finally {
    await place.drop();
  }
}

const claimants = await startClaimants(8);
try {
  const rows: Row[] = [];
  for (const engine of ["sqlite", "redis", "postgres"] as const) rows.push(...(await raceOn(engine)));
  console.table(rows);
  if (rows.some(({ violations, unclaimed }) => violations + unclaimed > 0)) process.exitCode = 1;
} finally {
  await endClaimants(claimants);
}
