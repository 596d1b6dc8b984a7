import type { Timer } from "../common/clock.js";

/** One record: which state of it is wanted on disk, and which is there. */
export interface WriteState {
  version: number;
  requestedSequence: number;
  writtenSequence: number;
  /** Which of the states callers wait for. */
  awaitedSequence: number;
  isWriting: boolean;
  /** The latest state that somebody has waited for in vain: nobody waits for it a second time. */
  timedOutSequence: number;
  /** How often a write of it failed or was late. */
  failures: number;
  retry: { readonly timer: Timer; readonly again: () => void } | undefined;
  waiting: { readonly target: number; readonly done: () => void }[];
}

/** Of a record that is on disk at this version. */
export function writeStateAt(version: number): WriteState {
  return {
    version,
    requestedSequence: 0,
    writtenSequence: 0,
    awaitedSequence: 0,
    isWriting: false,
    timedOutSequence: 0,
    failures: 0,
    retry: undefined,
    waiting: [],
  };
}

/** Tells those who wait for what is on disk now. */
export function releaseWaiting(slot: WriteState): void {
  const done = slot.waiting.filter((waiter) => waiter.target <= slot.writtenSequence);
  if (done.length === 0) return;
  slot.waiting = slot.waiting.filter((waiter) => waiter.target > slot.writtenSequence);
  for (const waiter of done) waiter.done();
}
