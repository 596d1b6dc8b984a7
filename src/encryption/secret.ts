import { inspect } from "node:util";

const REDACTED = "[redacted]";

/** A text that is not to be seen: printing, inspecting and serialising it all say `[redacted]`. */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The text itself. */
  reveal(): string {
    return this.#text;
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  static {
    Object.defineProperty(Secret.prototype, inspect.custom, { value: () => REDACTED });
  }
}
