/** The right to a session, until it ends for good. Whoever was given it sees it end. */
export interface ClaimHandle {
  /** Whether the session may be used; `now` is the monotonic clock's. */
  isUsable(now: number): boolean;
}
