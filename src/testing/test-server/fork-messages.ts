import type { TestServerAccount } from "./accounts.js";
import type { Action, Match } from "./rules.js";

/** What a test server in a process of its own says once it can be reached. */
export interface ReadyMessage {
  readonly kind: "ready";
  readonly host: string;
  readonly port: number;
  readonly accounts: readonly TestServerAccount[];
}

/** What it says when it cannot start. */
export interface FailedMessage {
  readonly kind: "failed";
  readonly reason: string;
}

/** A question to it: the name of a command and its arguments. */
export interface RequestMessage {
  readonly id: number;
  readonly command: string;
  readonly values: readonly unknown[];
}

/** Its answer: the value of the command, or why there is none. */
export interface ResponseMessage {
  readonly kind: "response";
  readonly id: number;
  readonly value?: unknown;
  readonly reason?: string;
}

/** A rule to make in another process. */
export interface RuleRequest {
  readonly match: Omit<Match, "when">;
  readonly action: Action;
}

/** The processor time a process used since it started. */
export interface ProcessorTime {
  readonly userMs: number;
  readonly systemMs: number;
}
