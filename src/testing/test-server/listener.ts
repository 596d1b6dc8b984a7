import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createServer, type Server, type Socket } from "node:net";

/** A TCP listener that can be taken down and put up again on the same port. */
export class Listener {
  readonly host: string;
  readonly #accepted: (socket: Socket) => void;
  #port: number;
  #server: Server | undefined;

  /** @param port 0 for any free one. */
  constructor(host: string, port: number, accepted: (socket: Socket) => void) {
    this.host = host;
    this.#port = port;
    this.#accepted = accepted;
  }

  /** The port: 0 before it listened for the first time. */
  get port(): number {
    return this.#port;
  }

  /** Listens. Already listening: nothing happens. Rejects when the port is taken. */
  async open(): Promise<void> {
    if (this.#server !== undefined) return;
    const server = createServer((socket) => this.#accepted(socket));
    this.#server = server;
    try {
      server.listen(this.#port, this.host);
      await once(server, "listening");
    } catch (error) {
      this.#server = undefined;
      throw error;
    }
    this.#port = (server.address() as AddressInfo).port;
  }

  /** Stops listening. Does not close the connections: their owner does. */
  async close(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    const closed = once(server, "close");
    server.close();
    await closed;
  }
}
