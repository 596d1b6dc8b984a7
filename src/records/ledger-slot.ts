import type { Timer } from "../clock.js";

/** One record: which state of it is wanted on disk, and which is there. */
export interface Slot {
  version: number;
  wanted: number;
  written: number;
  /** Which of the states callers wait for. */
  owed: number;
  isWriting: boolean;
  /** The latest state that somebody has waited for in vain: nobody waits for it a second time. */
  overdue: number;
  /** How often a write of it failed or was late. */
  failures: number;
  retry: { readonly timer: Timer; readonly again: () => void } | undefined;
  waiting: { readonly target: number; readonly done: () => void }[];
}

/** Of a record that is on disk at this version. */
export function slotAt(version: number): Slot {
  return {
    version,
    wanted: 0,
    written: 0,
    owed: 0,
    isWriting: false,
    overdue: 0,
    failures: 0,
    retry: undefined,
    waiting: [],
  };
}

/** Tells those who wait for what is on disk now. */
export function releaseWaiting(slot: Slot): void {
  const done = slot.waiting.filter((waiter) => waiter.target <= slot.written);
  if (done.length === 0) return;
  slot.waiting = slot.waiting.filter((waiter) => waiter.target > slot.written);
  for (const waiter of done) waiter.done();
}
