/** What is done when a signal aborts. A function that it returns is called soon after, and may wait for its turn. */
export type AbortCallback = () => unknown;

interface Subscription {
  readonly callbacks: Set<AbortCallback>;
  readonly listener: () => void;
}

/**
 * Listens to abort signals with one listener each, however many callers share it: thousands of listeners on one
 * signal are a warning, and slow.
 */
export class AbortListeners {
  /** One for each signal that a caller waits with. */
  readonly #subscriptions = new Map<AbortSignal, Subscription>();

  /** Calls back when the signal aborts, or soon if it has. Returns the function that takes this back. */
  onAbort(signal: AbortSignal, callback: AbortCallback): () => void {
    if (signal.aborted) return nextMicrotask(callback);
    const { callbacks } = this.#subscriptions.get(signal) ?? this.#subscribe(signal);
    callbacks.add(callback);
    return () => {
      callbacks.delete(callback);
      if (callbacks.size === 0) this.#unsubscribe(signal);
    };
  }

  #subscribe(signal: AbortSignal): Subscription {
    const callbacks = new Set<AbortCallback>();
    const listener = (): void => {
      this.#subscriptions.delete(signal);
      const left: (() => void)[] = [];
      for (const callback of callbacks) {
        const rest = callback();
        if (typeof rest === "function") left.push(rest as () => void);
      }
      runInBatches(left);
    };
    const subscription = { callbacks, listener };
    this.#subscriptions.set(signal, subscription);
    signal.addEventListener("abort", listener, { once: true });
    return subscription;
  }

  #unsubscribe(signal: AbortSignal): void {
    const subscription = this.#subscriptions.get(signal);
    if (subscription === undefined || subscription.callbacks.size > 0) return;
    this.#subscriptions.delete(signal);
    signal.removeEventListener("abort", subscription.listener);
  }
}

/** So many callers learn in one turn of the event loop that they are refused, which takes some milliseconds. */
const AT_ONCE = 1_000;

/** Thousands that go on at once would hold the event loop. */
function runInBatches(callbacks: readonly (() => void)[]): void {
  for (const callback of callbacks.slice(0, AT_ONCE)) callback();
  if (callbacks.length > AT_ONCE) setImmediate(() => runInBatches(callbacks.slice(AT_ONCE)));
}

/** Calls back in the next microtask, unless that is taken back. */
function nextMicrotask(callback: AbortCallback): () => void {
  let isWanted = true;
  queueMicrotask(() => {
    if (!isWanted) return;
    const rest = callback();
    if (typeof rest === "function") rest();
  });
  return () => {
    isWanted = false;
  };
}
