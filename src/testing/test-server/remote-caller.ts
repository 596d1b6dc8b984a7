import type { ChildProcess } from "node:child_process";
import type { RequestMessage, ResponseMessage } from "./fork-messages.js";
import type { RemoteCommands } from "./remote-commands.js";

type Arguments<C extends keyof RemoteCommands> = Parameters<RemoteCommands[C]>;
type Value<C extends keyof RemoteCommands> = Awaited<ReturnType<RemoteCommands[C]>>;

interface Waiting {
  resolve(value: unknown): void;
  reject(reason: Error): void;
}

/** Asks a forked test server and waits for its answers. */
export class RemoteCaller {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, Waiting>();
  #last = 0;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.on("message", (message) => this.#settle(message as ResponseMessage));
    child.once("exit", () => this.#abandon());
  }

  /** Runs a command there. Rejects when it throws, or when the process is gone. */
  call<C extends keyof RemoteCommands>(command: C, ...values: Arguments<C>): Promise<Value<C>> {
    this.#last += 1;
    const request: RequestMessage = { id: this.#last, command, values };
    return new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(request.id, { resolve, reject });
      this.#child.send(request, (error) => {
        if (error !== null && this.#waiting.delete(request.id)) reject(error);
      });
    }) as Promise<Value<C>>;
  }

  #settle({ id, value, reason }: ResponseMessage): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (reason === undefined) waiting?.resolve(value);
    else waiting?.reject(new Error(reason));
  }

  #abandon(): void {
    for (const { reject } of this.#waiting.values()) reject(new Error("The test server's process ended"));
    this.#waiting.clear();
  }
}
