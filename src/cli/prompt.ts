import { createInterface, type Interface } from "node:readline";
import { Writable } from "node:stream";
import { CommandError, UsageError } from "./command.js";
import type { Terminal } from "./terminal.js";

/**
 * Asks the person at the terminal. Questions go to stderr, so that stdout holds the result alone. Without a terminal the
 * lines of stdin are the answers.
 */
export class Prompt {
  readonly #terminal: Terminal;
  readonly #signal: AbortSignal;
  #lines: AsyncIterator<string> | undefined;

  constructor(terminal: Terminal, signal: AbortSignal) {
    this.#terminal = terminal;
    this.#signal = signal;
  }

  /** Asks for a line. Rejects with the signal's reason when it aborts, with `CommandError` when the input ends. */
  ask(question: string, signal: AbortSignal = this.#signal): Promise<string> {
    return this.#terminal.isInteractive ? this.#askPerson(question, false, signal) : this.#nextLine(question, signal);
  }

  /** Asks for what must not be seen: it is not echoed, wherever stderr goes. */
  askSecret(question: string, signal: AbortSignal = this.#signal): Promise<string> {
    return this.#terminal.stdin.isTTY === true
      ? this.#askPerson(question, true, signal)
      : this.#nextLine(question, signal);
  }

  /** Asks for a yes; anything else is a no. Throws `UsageError` without a terminal. */
  async confirm(question: string): Promise<boolean> {
    if (!this.#terminal.isInteractive) {
      throw new UsageError("This asks before it acts, and there is no terminal to ask on: add --yes.");
    }
    return /^\s*y(es)?\s*$/i.test(await this.ask(`${question} [y/N] `));
  }

  /** Stops reading stdin. */
  close(): void {
    void this.#lines?.return?.();
    this.#lines = undefined;
  }

  #askPerson(question: string, isSecret: boolean, signal: AbortSignal): Promise<string> {
    const { stdin, stderr } = this.#terminal;
    signal.throwIfAborted();
    // A reader of lines would take the answer as well.
    this.close();
    stdin.ref?.();
    // The line editor echoes to its output: of a secret it has none.
    const output = isSecret ? new Writable({ write: (_chunk, _encoding, done) => done() }) : stderr;
    const editor = createInterface({ input: stdin, output, terminal: true, historySize: 0 });
    // Only now the terminal does not echo by itself.
    if (isSecret) stderr.write(question);
    return new Promise<string>((resolve, reject) => {
      const abort = (): void => reject(signal.reason);
      signal.addEventListener("abort", abort, { once: true });
      editor.once("SIGINT", this.#terminal.interrupt);
      editor.once("close", () => {
        signal.removeEventListener("abort", abort);
        reject(new CommandError("The input ended before an answer."));
      });
      editor.question(isSecret ? "" : question, resolve);
    }).finally(() => {
      if (isSecret) stderr.write("\n");
      close(editor);
    });
  }

  async #nextLine(question: string, signal: AbortSignal): Promise<string> {
    const { stdin } = this.#terminal;
    stdin.ref?.();
    this.#lines ??= createInterface({ input: stdin })[Symbol.asyncIterator]();
    const aborted = new Promise<never>((_, reject) => {
      signal.throwIfAborted();
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
    const { value, done } = await Promise.race([this.#lines.next(), aborted]);
    if (done === true) throw new CommandError(`The input ended before an answer to "${question.trim()}".`);
    return value;
  }
}

function close(editor: Interface): void {
  editor.removeAllListeners("close");
  editor.close();
}
