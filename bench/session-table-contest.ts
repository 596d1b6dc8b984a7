import { ANY, type Criteria } from "../src/state/criteria.js";
import { LruOrder } from "../src/state/selection-order.js";
import { SessionEntry } from "../src/state/session-entry.js";
import { SessionTable } from "../src/state/session-table.js";

/** Start of the time line, which the bench advances. */
export const START = 1_700_000_000_000.5;
export const HOUR_MS = 3_600_000;

/** A reproducible generator of numbers from 0 to 1. */
function chance(): () => number {
  let state = 1;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A table of sessions that were never used. */
export function createTable(
  size: number,
  tags: (index: number) => readonly string[] = () => [],
  order = new LruOrder(),
) {
  const sessionTable = new SessionTable({ leasesPerSession: 1, maxConnected: Number.POSITIVE_INFINITY, order });
  const entries = Array.from({ length: size }, (_, index) => new SessionEntry(`session-${index}`, tags(index), START));
  sessionTable.add(entries, START);
  return { sessionTable, entries };
}

/** Expires what is due, leases a session and releases it; every tenth then cools down, so that 90 % always do. */
export function pickAndMark(size: number): (times: number) => void {
  const { sessionTable, entries } = createTable(size);
  const random = chance();
  const cooling = Math.floor(size * 0.9);
  // As many come back as go: one in ten picks floods, and a pick comes every hundredth of a millisecond.
  const stepMs = 0.01;
  const restMs = cooling * stepMs * 10;
  for (let index = 0; index < cooling; index++) {
    sessionTable.cool(entries[index] as SessionEntry, { kind: "session" }, START + random() * restMs, "FLOOD", START);
  }
  let now = START;
  return (times) => {
    for (let run = 0; run < times; run++) {
      now += stepMs;
      sessionTable.expireDue(now);
      sessionTable.takeRecovered();
      const entry = sessionTable.reserve(ANY, now);
      if (entry === undefined) continue;
      sessionTable.release(entry, now, now, false);
      if (random() < 0.1) sessionTable.cool(entry, { kind: "session" }, now + restMs * (0.5 + random()), "FLOOD", now);
    }
  };
}

/** Leases a session for a method that 99 of 100 are cooling for, or with a tag that one in a thousand has. */
export function narrow(criteria: Criteria, order = new LruOrder()): (times: number) => void {
  const { sessionTable, entries } = createTable(
    100_000,
    (index) => (index % 1_000 === 0 ? ["rare"] : ["common"]),
    order,
  );
  for (const [index, entry] of entries.entries()) {
    if (index % 100 !== 99) sessionTable.cool(entry, { kind: "method", method: "M" }, START + HOUR_MS, "FLOOD", START);
  }
  return (times) => {
    for (let run = 0; run < times; run++) {
      const entry = sessionTable.reserve(criteria, START);
      if (entry !== undefined) sessionTable.release(entry, START, START, false);
    }
  };
}
