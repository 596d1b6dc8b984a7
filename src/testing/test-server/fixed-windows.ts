interface FixedWindow {
  startedAt: number;
  sent: number;
  /** Refusals in a row: without a window free of them since. */
  offences: number;
  /** When the latest wait ends. */
  restsUntil: number;
}

/** The number of calls in a window, and the wait of a caller that finds it full. */
export interface FixedWindowOptions {
  readonly calls: number;
  readonly perMs: number;
  readonly penalty?: number;
  readonly waitSeconds?: number;
}

/** Windows by key, each from the first call after the one before has ended. */
export class FixedWindows {
  readonly #options: FixedWindowOptions;
  readonly #windows = new Map<string, FixedWindow>();

  constructor(options: FixedWindowOptions) {
    this.#options = options;
  }

  /** Takes a call: `undefined`, or the seconds to wait when the window is full. */
  take(key: string, now: number): number | undefined {
    const { calls, perMs, penalty = 1, waitSeconds } = this.#options;
    const window = this.#windowOf(key, now);
    if (window.sent < calls) {
      window.sent += 1;
      return undefined;
    }
    if (now >= window.restsUntil + perMs) window.offences = 0;
    const restMs = (window.startedAt + perMs - now) * penalty ** window.offences;
    const seconds = waitSeconds ?? Math.max(1, Math.ceil(restMs / 1000));
    window.offences += 1;
    window.restsUntil = now + seconds * 1000;
    return seconds;
  }

  #windowOf(key: string, now: number): FixedWindow {
    const window = this.#windows.get(key) ?? {
      startedAt: now,
      sent: 0,
      offences: 0,
      restsUntil: Number.NEGATIVE_INFINITY,
    };
    this.#windows.set(key, window);
    if (now >= window.startedAt + this.#options.perMs) {
      window.startedAt = now;
      window.sent = 0;
    }
    return window;
  }
}
