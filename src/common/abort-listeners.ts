/**
 * Called when a signal aborts. A function that it returns is called soon after, in a later turn of the event loop if there
 * are thousands of them.
 */
export type AbortCallback = () => unknown;

interface Subscription {
  readonly callbacks: Set<AbortCallback>;
  readonly listener: () => void;
}

/** Maximum number of deferred functions that are called in one turn of the event loop: a few milliseconds. */
const MAX_PER_TURN = 1_000;

/**
 * Listens to each abort signal with one listener, however many callers share the signal. Node.js warns of a leak when a
 * signal has thousands of listeners, and removing one of them takes time in proportion to their number.
 */
export class AbortListeners {
  /** One for each signal that a caller waits with. */
  readonly #subscriptions = new Map<AbortSignal, Subscription>();

  /** Calls back when the signal aborts, or in a microtask if it has aborted. Returns the function that unsubscribes. */
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
      const deferred: (() => void)[] = [];
      for (const callback of callbacks) {
        const result = callback();
        if (typeof result === "function") deferred.push(result as () => void);
      }
      runInBatches(deferred);
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

function runInBatches(callbacks: readonly (() => void)[]): void {
  for (const callback of callbacks.slice(0, MAX_PER_TURN)) callback();
  if (callbacks.length > MAX_PER_TURN) setImmediate(() => runInBatches(callbacks.slice(MAX_PER_TURN)));
}

/** Calls back in the next microtask. Returns the function that prevents the call. */
function nextMicrotask(callback: AbortCallback): () => void {
  let isCanceled = false;
  queueMicrotask(() => {
    if (isCanceled) return;
    const result = callback();
    if (typeof result === "function") result();
  });
  return () => {
    isCanceled = true;
  };
}
