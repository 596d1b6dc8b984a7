import type { SessionState } from "../options/session-info.js";

/**
 * How many sessions are in which state. Fields, not a table: it changes twice with every lease. The free ones are those
 * that are left.
 */
export class StateCounts {
  #total = 0;
  #leased = 0;
  #cooling = 0;
  #restricted = 0;
  #dead = 0;
  #disabled = 0;
  #foreign = 0;

  get total(): number {
    return this.#total;
  }

  get leased(): number {
    return this.#leased;
  }

  enter(state: SessionState): void {
    this.#total++;
    this.#add(state, 1);
  }

  leave(state: SessionState): void {
    this.#total--;
    this.#add(state, -1);
  }

  move(from: SessionState, to: SessionState): void {
    this.#add(from, -1);
    this.#add(to, 1);
  }

  all(): Record<SessionState, number> {
    const others = {
      leased: this.#leased,
      cooling: this.#cooling,
      restricted: this.#restricted,
      dead: this.#dead,
      disabled: this.#disabled,
      foreign: this.#foreign,
    };
    const free = Object.values(others).reduce((left, count) => left - count, this.#total);
    return { free, ...others };
  }

  #add(state: SessionState, change: 1 | -1): void {
    switch (state) {
      case "free":
        return;
      case "leased":
        this.#leased += change;
        return;
      case "cooling":
        this.#cooling += change;
        return;
      case "restricted":
        this.#restricted += change;
        return;
      case "dead":
        this.#dead += change;
        return;
      case "disabled":
        this.#disabled += change;
        return;
      case "foreign":
        this.#foreign += change;
    }
  }
}
