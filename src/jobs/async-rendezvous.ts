/** Hands items over one by one: the next is made only when the last one was taken and another is asked for. */
export class AsyncRendezvous<T> {
  #receiver: { resolve(next: { readonly item: T } | undefined): void; reject(error: unknown): void } | undefined;
  /** What was handed over before anybody asked, or is the end of it. */
  #ready: { readonly item: T } | undefined;
  #sender: ((isWanted: boolean) => void) | undefined;
  #end: { readonly error: unknown; readonly hasFailed: boolean } | undefined;

  /** Resolves whether another item is wanted, as soon as that is known. */
  send(item: T): Promise<boolean> {
    if (this.#end !== undefined) return Promise.resolve(false);
    const taker = this.#receiver;
    this.#receiver = undefined;
    if (taker === undefined) this.#ready = { item };
    else taker.resolve({ item });
    return new Promise((resolve) => {
      this.#sender = resolve;
    });
  }

  /** Asks for the next item: `undefined` at the end. Rejects with what ended it, if that was a failure. */
  receive(): Promise<{ readonly item: T } | undefined> {
    const ready = this.#ready;
    this.#ready = undefined;
    if (ready !== undefined) return Promise.resolve(ready);
    if (this.#end?.hasFailed) return Promise.reject(this.#end.error);
    if (this.#end !== undefined) return Promise.resolve(undefined);
    this.#answer(true);
    return new Promise((resolve, reject) => {
      this.#receiver = { resolve, reject };
    });
  }

  /** There are no more, or no more are wanted. */
  end(): void {
    this.#finish({ error: undefined, hasFailed: false });
  }

  fail(error: unknown): void {
    this.#finish({ error, hasFailed: true });
  }

  #finish(end: { readonly error: unknown; readonly hasFailed: boolean }): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#answer(false);
    if (end.hasFailed) this.#receiver?.reject(end.error);
    else this.#receiver?.resolve(undefined);
    this.#receiver = undefined;
  }

  #answer(isWanted: boolean): void {
    const giver = this.#sender;
    this.#sender = undefined;
    giver?.(isWanted);
  }
}
