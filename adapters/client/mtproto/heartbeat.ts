import type { Clock, Timer } from "../../../src/common/clock.js";
import type { Library } from "./library.js";
import type { PooledSender } from "./sender.js";

/** How often a connection is tried for life, and how long it may stay silent: together under 40 s. */
const PING_EVERY_MS = 20_000;
const PONG_WITHIN_MS = 10_000;
/** Seconds after which Telegram drops a connection without a further ping. */
const DISCONNECT_DELAY_SECONDS = 75;

/**
 * Keeps one connection alive and notices when it is dead. A library's own loop keeps a finished process alive, and goes on
 * after a disconnect; this one is unref'd and ends with its sender.
 */
export class Heartbeat {
  readonly #library: Library;
  readonly #clock: Clock;
  readonly #sender: PooledSender;
  #timer: Timer;

  constructor(library: Library, clock: Clock, sender: PooledSender) {
    this.#library = library;
    this.#clock = clock;
    this.#sender = sender;
    this.#timer = this.#arm();
  }

  stop(): void {
    this.#timer.cancel();
  }

  #arm(): Timer {
    return this.#clock.setTimer(PING_EVERY_MS, () => this.#ping());
  }

  #ping(): void {
    const { Api, helpers } = this.#library;
    const pingId = helpers.generateRandomLong();
    const ping = new Api.PingDelayDisconnect({ pingId, disconnectDelay: DISCONNECT_DELAY_SECONDS });
    this.#timer = this.#clock.setTimer(PONG_WITHIN_MS, () =>
      this.#sender.disconnectWith("Telegram did not answer a ping"),
    );
    this.#sender.transmitService(ping).then(
      () => {
        this.#timer.cancel();
        if (!this.#sender.isLost) this.#timer = this.#arm();
      },
      () => this.#timer.cancel(),
    );
  }
}
