import type { CallDuringWait, CallRecord, ConnectionRecord } from "./records.js";
import { type WaitWindow, waitRecord } from "./waits.js";

/**
 * Which calls a wait forbids: `"session"`, every call of the account; `"method"`, those of the same method.
 * A SLOWMODE_WAIT forbids the calls about its peer in both.
 */
export type WaitScope = "session" | "method";

/** Time after which an answer that was not acknowledged counts as read. */
const READ_BY_NOW_MS = 1_000;

/** Calls that fell into a wait: those the client knew better, and those that were on their way. */
export interface WaitedCalls {
  readonly violations: readonly CallDuringWait[];
  readonly inFlight: readonly CallDuringWait[];
}

/** What the calls are judged by. */
export interface Evidence {
  readonly calls: readonly CallRecord[];
  readonly windows: readonly WaitWindow[];
  /** The event in which a connection was accepted. */
  openedEventOf(connection: ConnectionRecord["connection"]): number;
}

function forbids(window: WaitWindow, call: CallRecord, scope: WaitScope): boolean {
  if (window.peer !== null) return window.peer === call.peer;
  return scope === "session" || window.method === call.method;
}

function clientKnewOfWait(window: WaitWindow, call: CallRecord, evidence: Evidence): boolean {
  if (window.toldAt === null) return false;
  if (window.acknowledgedEvent !== null && call.packet > window.acknowledgedEvent) return true;
  if (evidence.openedEventOf(call.connection) > window.toldEvent) return true;
  return window.acknowledgedEvent === null && call.at > window.toldAt + READ_BY_NOW_MS;
}

/** Sorts out the calls that arrived inside a wait. Both lists of the evidence are in the order of events. */
export function findWaitViolations(evidence: Evidence, scope: WaitScope): WaitedCalls {
  const violations: CallDuringWait[] = [];
  const inFlight: CallDuringWait[] = [];
  const open = new Map<string, WaitWindow[]>();
  let next = 0;
  for (const call of evidence.calls) {
    for (let window = evidence.windows[next]; window !== undefined; window = evidence.windows[next]) {
      if (window.openedEvent >= call.packet) break;
      const ofAccount = open.get(window.account);
      if (ofAccount === undefined) open.set(window.account, [window]);
      else ofAccount.push(window);
      next += 1;
    }
    if (call.isConnect) continue;
    const running = open.get(call.account)?.filter((window) => call.at < window.until) ?? [];
    if (running.length === 0) open.delete(call.account);
    else open.set(call.account, running);
    const waits = running.filter((window) => forbids(window, call, scope));
    const known = waits.find((window) => clientKnewOfWait(window, call, evidence));
    const wait = known ?? waits[0];
    if (wait === undefined) continue;
    (known === undefined ? inFlight : violations).push({ ...call, wait: waitRecord(wait) });
  }
  return { violations, inFlight };
}
