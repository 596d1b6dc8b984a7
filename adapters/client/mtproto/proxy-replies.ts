import type { Socket } from "node:net";

/** The bytes that a proxy sends before its tunnel is open; what follows remains in the socket. Starts no timer. */
export class ProxyReplies {
  readonly #socket: Socket;
  readonly #limit: number;
  readonly #refusal: (what: string) => Error;
  #received: Buffer = Buffer.alloc(0);
  #failure: Error | undefined;
  #wake: () => void = () => {};
  readonly #onData = (chunk: Buffer): void => {
    this.#received = Buffer.concat([this.#received, chunk]);
    this.#wake();
  };
  readonly #onClose = (): void => {
    this.#failure = this.#refusal("the proxy closed the connection");
    this.#wake();
  };

  /** `limit`: the most bytes that the proxy may send before the end of its reply. `refusal` makes the errors. */
  constructor(socket: Socket, limit: number, refusal: (what: string) => Error) {
    this.#socket = socket;
    this.#limit = limit;
    this.#refusal = refusal;
    socket.on("data", this.#onData).once("close", this.#onClose).once("end", this.#onClose);
  }

  /** Takes `count` bytes. */
  async take(count: number): Promise<Buffer> {
    while (this.#received.length < count) await this.#more();
    return this.#remove(count);
  }

  /** Takes everything to the end of the first `mark`, which is part of the result. */
  async takeThrough(mark: string): Promise<Buffer> {
    for (;;) {
      const start = this.#received.indexOf(mark);
      if (start !== -1) return this.#remove(start + mark.length);
      await this.#more();
    }
  }

  /** MUST be called once the tunnel is open or refused. */
  end(): void {
    this.#socket.off("data", this.#onData).off("close", this.#onClose).off("end", this.#onClose);
    this.#socket.pause();
    const isOver = this.#socket.destroyed || this.#socket.readableEnded;
    if (this.#received.length > 0 && !isOver) this.#socket.unshift(this.#received);
  }

  async #more(): Promise<void> {
    if (this.#received.length > this.#limit) throw this.#refusal("the proxy sent more bytes than a reply may have");
    if (this.#failure !== undefined) throw this.#failure;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }

  #remove(count: number): Buffer {
    const taken = this.#received.subarray(0, count);
    this.#received = this.#received.subarray(count);
    return taken;
  }
}
