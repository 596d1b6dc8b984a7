/** Until when a session may be used, by the monotonic clock. Whoever was given it sees it move, and sees it end. */
export class Hold {
  #usableUntil: number;

  constructor(usableUntil: number) {
    this.#usableUntil = usableUntil;
  }

  get usableUntil(): number {
    return this.#usableUntil;
  }

  /** The claim behind it was renewed. */
  extend(until: number): void {
    this.#usableUntil = until;
  }

  /** For good. */
  end(): void {
    this.#usableUntil = Number.NEGATIVE_INFINITY;
  }

  get hasEnded(): boolean {
    return this.#usableUntil === Number.NEGATIVE_INFINITY;
  }

  isUsable(now: number): boolean {
    return now < this.#usableUntil;
  }
}
