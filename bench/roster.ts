import { ANY, type Criteria } from "../src/roster/criteria.js";
import { SpreadOrder, WarmOrder, WeightedOrder } from "../src/roster/order.js";
import { Roster } from "../src/roster/roster.js";
import { RosterEntry } from "../src/roster/roster-entry.js";
import { median, nanoseconds, shown } from "./timing.js";

const START = 1_700_000_000_000.5;
const HOUR_MS = 3_600_000;
const NO_TAGS: readonly string[] = [];

/** Numbers from 0 up to 1, always the same ones. */
function chance(): () => number {
  let state = 1;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

function rosterOf(size: number, tags: (index: number) => readonly string[] = () => [], order = new SpreadOrder()) {
  const roster = new Roster({ leasesPerSession: 1, maxLeased: Number.POSITIVE_INFINITY, order });
  const entries = Array.from({ length: size }, (_, index) => new RosterEntry(`session-${index}`, tags(index), START));
  roster.add(entries, START);
  return { roster, entries };
}

/** Let out what is due, lease one, give it back, ever tenth into a cooldown: nine tenths cool all the time. */
function pickAndMark(size: number): (times: number) => void {
  const { roster, entries } = rosterOf(size);
  const random = chance();
  const cooling = Math.floor(size * 0.9);
  // As many come back as go: one in ten picks floods, and a pick comes every hundredth of a millisecond.
  const stepMs = 0.01;
  const restMs = cooling * stepMs * 10;
  for (let index = 0; index < cooling; index++) {
    roster.cool(entries[index] as RosterEntry, { kind: "session" }, START + random() * restMs, "FLOOD", START);
  }
  let now = START;
  return (times) => {
    for (let run = 0; run < times; run++) {
      now += stepMs;
      roster.advance(now);
      roster.takeRecovered();
      const entry = roster.take(ANY, now);
      if (entry === undefined) continue;
      roster.giveBack(entry, now, now, false);
      if (random() < 0.1) roster.cool(entry, { kind: "session" }, now + restMs * (0.5 + random()), "FLOOD", now);
    }
  };
}

/** Lease one for a method that rests on 99 of 100, or with a tag that one in a thousand carries. */
function narrow(criteria: Criteria, order = new SpreadOrder()): (times: number) => void {
  const { roster, entries } = rosterOf(100_000, (index) => (index % 1_000 === 0 ? ["rare"] : ["common"]), order);
  for (const [index, entry] of entries.entries()) {
    if (index % 100 !== 99) roster.cool(entry, { kind: "method", method: "M" }, START + HOUR_MS, "FLOOD", START);
  }
  return (times) => {
    for (let run = 0; run < times; run++) {
      const entry = roster.take(criteria, START);
      if (entry !== undefined) roster.giveBack(entry, START, START, false);
    }
  };
}

/** All of a crowd cool, and all are due at one instant. */
function herd(size: number): { readonly cool: number; readonly letOut: number } {
  const { roster, entries } = rosterOf(size);
  const began = performance.now();
  for (const entry of entries) roster.cool(entry, { kind: "session" }, START + HOUR_MS, "FLOOD", START);
  const cooled = performance.now();
  roster.advance(START + HOUR_MS);
  return { cool: cooled - began, letOut: performance.now() - cooled };
}

/** Bytes of heap that a session takes in a roster, but for its own strings. */
function bytesPerSession(size: number): number {
  const ids = Array.from({ length: size }, (_, index) => `session-${index}`).slice();
  const heap = (): number => {
    globalThis.gc?.();
    globalThis.gc?.();
    return process.memoryUsage().heapUsed;
  };
  const before = heap();
  const roster = new Roster({ leasesPerSession: 1, maxLeased: Number.POSITIVE_INFINITY });
  roster.add(
    ids.map((id) => new RosterEntry(id, NO_TAGS, START)),
    START,
  );
  const bytes = (heap() - before) / size;
  if (roster.status(START).total !== ids.length) throw new Error("Not all of them are in.");
  return bytes;
}

if (globalThis.gc !== undefined) {
  console.log(`A session takes ${bytesPerSession(100_000).toFixed(0)} B in the roster, but for its own strings.`);
}
const scoped = { ...ANY, methods: ["M"] };
const measured = await nanoseconds(
  new Map([
    ["pick + mark, 10,000 sessions, 90 % cooling, 10 % floods", pickAndMark(10_000)],
    ["pick + mark, 1,000,000 sessions, 90 % cooling, 10 % floods", pickAndMark(1_000_000)],
    ["for a method, 100,000 sessions, 99 % cool for it", narrow(scoped)],
    ["with a tag, 100,000 sessions, 0.1 % carry it", narrow({ ...ANY, tags: ["rare"] })],
    ["for the method, warm", narrow(scoped, new WarmOrder())],
    ["for the method, weighted", narrow(scoped, new WeightedOrder(({ id }) => 1 + (id.length % 3)))],
  ]),
);
console.table(Object.fromEntries([...measured].map(([name, ns]) => [name, shown(ns)])));
const herds = Array.from({ length: 5 }, () => herd(10_000));
console.log(
  `10,000 sessions: to cool them ${median(herds.map(({ cool }) => cool)).toFixed(2)} ms, to let them out ${median(herds.map(({ letOut }) => letOut)).toFixed(2)} ms.`,
);
