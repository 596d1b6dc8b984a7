import { ANY } from "../src/state/criteria.js";
import {
  contendedContestants,
  contestants,
  MEASURED,
  measuredContestants,
  OBSERVED,
  OURS,
  RING,
} from "./lease-contest.js";
import { narrow, pickAndMark } from "./session-table-contest.js";
import { type Batch, nanoseconds } from "./timing.js";

/*
 * The short form of the benches, for every check: ratios of one run against bars that only a real loss misses. They are
 * about twice what is usual (docs/performance.md), and a bar counts as missed only when it is missed every time.
 */

/** One bar is near to what is usual: that of metrics. */
const TRIES = 5;

/** Times a bare promise ring of as many resources, or times another contestant, that something may cost at most. */
interface Bar {
  readonly what: string;
  readonly of: string;
  readonly against: string;
  readonly most: number;
}

interface Contest {
  readonly bars: readonly Bar[];
  batches(): Promise<ReadonlyMap<string, Batch>>;
}

const LARGER = "with 10,000 sessions";
const PICK = "pick + mark, 100,000 sessions";
const METHOD = "a pick for a method that 99 % rest for";

const CONTESTS: readonly Contest[] = [
  // First: beside the larger pools of the others, so small a difference is lost.
  {
    bars: [
      { what: "a lease with metrics, beside one without", of: MEASURED, against: OURS, most: 1.15 },
      { what: "a lease with a dashboard, beside one without", of: OBSERVED, against: OURS, most: 1.1 },
    ],
    batches: () => measuredContestants(10),
  },
  {
    bars: [
      { what: "a lease", of: OURS, against: RING, most: 15 },
      { what: "a lease, beside tarn", of: OURS, against: "tarn", most: 0.6 },
      { what: "a lease of 10,000, beside one of 10", of: LARGER, against: OURS, most: 3 },
    ],
    batches: async () => {
      const larger = (await contestants(10_000, false, [])).get(OURS);
      return new Map([...(await contestants(10, false, ["tarn"])), ...(larger ? [[LARGER, larger] as const] : [])]);
    },
  },
  {
    bars: [{ what: "64 workers on 8 sessions", of: OURS, against: RING, most: 4 }],
    batches: () => contendedContestants(8, []),
  },
  {
    bars: [
      { what: PICK, of: PICK, against: RING, most: 40 },
      { what: METHOD, of: METHOD, against: RING, most: 250 },
    ],
    batches: async () => {
      const ring = (await contestants(10, false, [])).get(RING);
      const sessionTable = new Map<string, Batch>([
        [PICK, pickAndMark(100_000)],
        [METHOD, narrow({ ...ANY, methods: ["M"] })],
      ]);
      return ring === undefined ? sessionTable : sessionTable.set(RING, ring);
    },
  },
];

/** How often what it costs is what the other one costs. */
async function ratios({ bars, batches }: Contest): Promise<ReadonlyMap<Bar, number>> {
  const measured = await nanoseconds(await batches());
  const of = (name: string): number => measured.get(name) ?? Number.NaN;
  return new Map(bars.map((bar) => [bar, of(bar.of) / of(bar.against)]));
}

/** Whether every bar was held, each at least once. */
async function isHeld(contest: Contest): Promise<boolean> {
  const missed = new Set(contest.bars);
  for (let run = 0; run < TRIES && missed.size > 0; run++) {
    for (const [bar, ratio] of await ratios(contest)) {
      if (!missed.has(bar)) continue;
      const held = ratio <= bar.most;
      console.log(`${held ? "held" : "missed"}: ${bar.what}: ${ratio.toFixed(2)} times, ${bar.most} at most`);
      if (held) missed.delete(bar);
    }
  }
  return missed.size === 0;
}

let isLost = false;
for (const contest of CONTESTS) if (!(await isHeld(contest))) isLost = true;
if (isLost) console.error(`A ratio was lost in each of ${TRIES} runs: npm run bench tells more.`);
process.exit(isLost ? 1 : 0);
