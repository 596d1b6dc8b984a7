import type { SessionState } from "../session-info.js";

/** How many sessions are in which state. Fields, not a table: it changes twice with every lease. */
export class StateCounts {
  #free = 0;
  #leased = 0;
  #cooling = 0;
  #restricted = 0;
  #dead = 0;
  #disabled = 0;
  #foreign = 0;

  get leased(): number {
    return this.#leased;
  }

  add(state: SessionState, change: 1 | -1): void {
    switch (state) {
      case "free":
        this.#free += change;
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

  all(): Record<SessionState, number> {
    return {
      free: this.#free,
      leased: this.#leased,
      cooling: this.#cooling,
      restricted: this.#restricted,
      dead: this.#dead,
      disabled: this.#disabled,
      foreign: this.#foreign,
    };
  }
}
