type Signature = (...values: never[]) => void;

/** Event names, each with the signature of its listeners. */
type Signatures<Events> = { readonly [Name in keyof Events]: Signature };

/**
 * A typed, synchronous emitter: `emit` returns when every listener has, in the order of their subscription. What a
 * listener throws goes to the caller of `emit`, as with a function call. Subscriptions that begin or end during an `emit`
 * count from the next one on.
 *
 * For parts of one pool, which share its life: code of the user's listens to `SafeEmitter`.
 */
export class Emitter<Events extends Signatures<Events>> {
  /** Bounded by the names. Lists are replaced, not changed, so that an `emit` under way keeps the one it began with. */
  readonly #listeners = new Map<keyof Events, readonly Signature[]>();

  /** Subscribes a listener. Returns the function that ends the subscription. */
  on<Name extends keyof Events>(name: Name, listener: Events[Name]): () => void {
    // A function of its own: the same listener may be subscribed twice.
    const subscription: Signature = (...values) => listener(...values);
    this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), subscription]);
    return () => {
      const others = this.#listeners.get(name)?.filter((other) => other !== subscription) ?? [];
      this.#listeners.set(name, others);
    };
  }

  /** Calls every listener of the event. */
  emit<Name extends keyof Events>(name: Name, ...values: Parameters<Events[Name]>): void {
    const listeners = this.#listeners.get(name);
    if (listeners === undefined) return;
    for (const listener of listeners) listener(...(values as never[]));
  }
}
