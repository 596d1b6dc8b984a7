/** Whether a call of a session is let through now: `undefined`, or the seconds to wait. */
export type FloodServer = (session: string, now: number, method?: string) => number | undefined;

const seconds = (ms: number): number => Math.max(1, Math.ceil(ms / 1_000));

/** Each session has a wait that goes on refusing until it ends. */
function withWaits(decide: (session: string, now: number, endedAt: number) => number | undefined): FloodServer {
  const untils = new Map<string, number>();
  return (session, now) => {
    const until = untils.get(session) ?? Number.NEGATIVE_INFINITY;
    if (now < until) return seconds(until - now);
    const wait = decide(session, now, until);
    if (wait !== undefined) untils.set(session, now + wait * 1_000);
    return wait;
  };
}

/** `calls` at once, and one more every `perMs / calls`. The wait is until then, or always as long. */
export function tokenBucket(calls: number, perMs: number, waitSeconds?: number): FloodServer {
  const buckets = new Map<string, { tokens: number; at: number }>();
  return withWaits((session, now) => {
    const bucket = buckets.get(session) ?? { tokens: calls, at: now };
    buckets.set(session, bucket);
    bucket.tokens = Math.min(calls, bucket.tokens + ((now - bucket.at) * calls) / perMs);
    bucket.at = now;
    if (bucket.tokens < 1) return waitSeconds ?? seconds(((1 - bucket.tokens) * perMs) / calls);
    bucket.tokens--;
    return undefined;
  });
}

/**
 * `calls` in a window that begins with the first; each offence in a row makes the wait so many times longer. The wait
 * is the rest of the window, or always as long.
 */
export function fixedWindow(calls: number, perMs: number, penalty = 1, waitSeconds?: number): FloodServer {
  const windows = new Map<string, { startedAt: number; sent: number; offences: number }>();
  return withWaits((session, now, endedAt) => {
    const window = windows.get(session) ?? { startedAt: Number.NEGATIVE_INFINITY, sent: 0, offences: 0 };
    windows.set(session, window);
    if (now >= window.startedAt + perMs) Object.assign(window, { startedAt: now, sent: 0 });
    if (window.sent++ < calls) return undefined;
    if (now - endedAt > 2 * perMs) window.offences = 0;
    return seconds(
      (waitSeconds === undefined ? window.startedAt + perMs - now : waitSeconds * 1_000) * penalty ** window.offences++,
    );
  });
}
