import { ANY } from "../src/state/criteria.js";
import { ConnectedFirstOrder, WeightedOrder } from "../src/state/selection-order.js";
import { SessionEntry } from "../src/state/session-entry.js";
import { SessionTable } from "../src/state/session-table.js";
import { createTable, HOUR_MS, narrow, pickAndMark, START } from "./session-table-contest.js";
import { median, nanoseconds, shown } from "./timing.js";

const NO_TAGS: readonly string[] = [];

/** All of a crowd cool, and all are due at one instant. */
function herd(size: number): { readonly cool: number; readonly letOut: number } {
  const { sessionTable, entries } = createTable(size);
  const began = performance.now();
  for (const entry of entries) sessionTable.cool(entry, { kind: "session" }, START + HOUR_MS, "FLOOD", START);
  const cooled = performance.now();
  sessionTable.expireDue(START + HOUR_MS);
  return { cool: cooled - began, letOut: performance.now() - cooled };
}

/** Heap of one entry of a table in bytes, without its own strings. */
function bytesPerSession(size: number): number {
  const ids = Array.from({ length: size }, (_, index) => `session-${index}`).slice();
  const heap = (): number => {
    globalThis.gc?.();
    globalThis.gc?.();
    return process.memoryUsage().heapUsed;
  };
  const before = heap();
  const sessionTable = new SessionTable({ leasesPerSession: 1, maxConnected: Number.POSITIVE_INFINITY });
  sessionTable.add(
    ids.map((id) => new SessionEntry(id, NO_TAGS, START)),
    START,
  );
  const bytes = (heap() - before) / size;
  if (sessionTable.status(START).total !== ids.length) throw new Error("Not all of them are in.");
  return bytes;
}

if (globalThis.gc !== undefined) {
  console.log(`A session takes ${bytesPerSession(100_000).toFixed(0)} B in the table, without its own strings.`);
}
const scoped = { ...ANY, methods: ["M"] };
const measured = await nanoseconds(
  new Map([
    ["pick + mark, 10,000 sessions, 90 % cooling, 10 % floods", pickAndMark(10_000)],
    ["pick + mark, 1,000,000 sessions, 90 % cooling, 10 % floods", pickAndMark(1_000_000)],
    ["for a method, 100,000 sessions, 99 % cool for it", narrow(scoped)],
    ["with a tag, 100,000 sessions, 0.1 % carry it", narrow({ ...ANY, tags: ["rare"] })],
    ["for the method, warm", narrow(scoped, new ConnectedFirstOrder())],
    ["for the method, weighted", narrow(scoped, new WeightedOrder(({ id }) => 1 + (id.length % 3)))],
  ]),
);
console.table(Object.fromEntries([...measured].map(([name, ns]) => [name, shown(ns)])));
const herds = Array.from({ length: 5 }, () => herd(10_000));
console.log(
  `10,000 sessions: to cool them ${median(herds.map(({ cool }) => cool)).toFixed(2)} ms, to let them out ${median(herds.map(({ letOut }) => letOut)).toFixed(2)} ms.`,
);
