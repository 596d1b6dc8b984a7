import type { Socket } from "node:net";
import { Listener } from "./listener.js";

/** The data centers of a test server: each with a port of its own, so that a client finds it as Telegram's. */
export class DataCenters {
  readonly #listeners: ReadonlyMap<number, Listener>;
  readonly #first: readonly [id: number, listener: Listener];

  /** @param port of the first data center; the others take any that is free. */
  constructor(ids: readonly number[], host: string, port: number, accepted: (socket: Socket, dcId: number) => void) {
    const listeners = ids.map(
      (id, i) => [id, new Listener(host, i === 0 ? port : 0, (socket) => accepted(socket, id))] as const,
    );
    const [first] = listeners;
    if (first === undefined) throw new TypeError("dataCenters: expected at least one");
    this.#first = first;
    this.#listeners = new Map(listeners);
  }

  /** Where accounts live that name no data center. */
  get home(): { readonly id: number; readonly port: number } {
    const [id, listener] = this.#first;
    return { id, port: listener.port };
  }

  all(): readonly { readonly id: number; readonly port: number }[] {
    return [...this.#listeners].map(([id, { port }]) => ({ id, port }));
  }

  /** Throws a `TypeError` for a data center that there is not. */
  portOf(id: number): number {
    const listener = this.#listeners.get(id);
    if (listener === undefined) throw new TypeError(`There is no data center ${id} (dataCenters)`);
    return listener.port;
  }

  /** Listens on every port. When one is taken, none is listened on. */
  async open(): Promise<void> {
    try {
      for (const listener of this.#listeners.values()) await listener.open();
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#listeners.values()].map((listener) => listener.close()));
  }
}
