import type { TlFactory, TlObject, TlWritable } from "./library.js";

/** One API request as the test server sees it, out of its wrappers. */
export interface Call {
  /** The name of the account that made it. */
  readonly account: string;
  /** The full name of the method: `"messages.SendMessage"`. */
  readonly method: string;
  readonly request: TlObject;
  /** Whom it is about: `"user:<id>"`, `"chat:<id>"`, `"channel:<id>"`, or `null`. */
  readonly peer: string | null;
  /** Whether it is the query of a connection's `initConnection`. */
  readonly isConnect: boolean;
  /** Makes the objects of an answer. */
  readonly tl: TlFactory;
}

/** What a handler answers: an object, a bool, a vector of objects, or the bytes of any of them. */
export type Answer = TlWritable | boolean | readonly TlWritable[] | Uint8Array;

/** Answers one method. Throws {@link RpcError} to refuse. */
export type Handler = (call: Call) => Answer | Promise<Answer>;

/** A refusal, as Telegram sends it: a number and a word. */
export class RpcError extends Error {
  override readonly name = "RpcError";
  /** Telegram's error code, for example 420. */
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** The name of a method as the library writes it: `"messages.getHistory"` becomes `"messages.GetHistory"`. */
export function methodName(name: string): string {
  return name.replace(/(^|\.)([a-z])(?=\w*$)/, (_, dot: string, first: string) => dot + first.toUpperCase());
}
