import { rebuild, type TelegramRequest } from "../telegram/requests.js";

/**
 * One request as each session gets it: made anew for every session, kept for a second try on the same one, so that
 * Telegram can tell a repetition by its `random_id`.
 */
export class RequestFactory {
  readonly #source: TelegramRequest | (() => TelegramRequest);
  /** One for each session that the job has tried. */
  readonly #copies = new Map<string, TelegramRequest>();

  constructor(source: TelegramRequest | (() => TelegramRequest)) {
    this.#source = source;
  }

  forSession(sessionId: string): TelegramRequest {
    const known = this.#copies.get(sessionId);
    if (known !== undefined) return known;
    const made = typeof this.#source === "function" ? this.#source() : this.#copy(this.#source);
    this.#copies.set(sessionId, made);
    return made;
  }

  /** The first copy keeps the `random_id` that the caller can see on the original. */
  #copy(original: TelegramRequest): TelegramRequest {
    const copy = rebuild(original);
    const randomId: unknown = Reflect.get(original, "randomId");
    if (this.#copies.size === 0 && randomId !== undefined && copy !== original) Reflect.set(copy, "randomId", randomId);
    return copy;
  }
}
