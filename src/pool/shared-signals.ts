interface Subscription {
  readonly callbacks: Set<() => void>;
  readonly listener: () => void;
}

/**
 * Listens to abort signals with one listener each, however many callers share it: thousands of listeners on one
 * signal are a warning, and slow.
 */
export class SharedSignals {
  readonly #subscriptions = new Map<AbortSignal, Subscription>();

  /** Calls back when the signal aborts, or soon if it has. Returns the function that takes this back. */
  onAbort(signal: AbortSignal, callback: () => void): () => void {
    if (signal.aborted) return soon(callback);
    const { callbacks } = this.#subscriptions.get(signal) ?? this.#subscribe(signal);
    callbacks.add(callback);
    return () => {
      callbacks.delete(callback);
      if (callbacks.size === 0) this.#unsubscribe(signal);
    };
  }

  #subscribe(signal: AbortSignal): Subscription {
    const callbacks = new Set<() => void>();
    const listener = (): void => {
      this.#subscriptions.delete(signal);
      for (const callback of callbacks) callback();
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

/** Calls back in the next microtask, unless that is taken back. */
function soon(callback: () => void): () => void {
  let isWanted = true;
  queueMicrotask(() => {
    if (isWanted) callback();
  });
  return () => {
    isWanted = false;
  };
}
