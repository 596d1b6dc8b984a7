import { unknownOption } from "../../options/validators.js";
import type { AccountOptions } from "./accounts.js";
import type { LibraryName } from "./library.js";

/** How a test server is set up. */
export interface TestServerOptions {
  /** How many accounts it has at first, or which. @default 1 */
  readonly accounts?: number | readonly AccountOptions[];
  /** The port on 127.0.0.1. @default 0: any free one */
  readonly port?: number;
  /** How long everything it writes is under way, in milliseconds. @default 0 */
  readonly latencyMs?: number;
  /** Whether answers to the calls of one packet go out in a packet each instead of one container. @default false */
  readonly sendsSingly?: boolean;
  /**
   * The one client library that it speaks with: the other one is not loaded. @default every one that is installed; each
   * client is answered in its own layer
   */
  readonly library?: LibraryName;
  /** Whether calls, messages and connections are recorded, or how many of each are kept. @default true: all */
  readonly record?: boolean | number;
  /**
   * Its data centers, by number; accounts live in the first of them unless they name another one. Each has a port of its
   * own, and the first one the `port` of the server. @default [2]
   */
  readonly dataCenters?: readonly number[];
  /** How long a login token (a QR code) can be accepted, in milliseconds. @default 30_000 */
  readonly loginTokenMs?: number;
}

/** The accounts to make at first. */
export function accountOptions(accounts: TestServerOptions["accounts"]): readonly AccountOptions[] {
  if (accounts === undefined) return [{}];
  return typeof accounts === "number" ? Array.from({ length: accounts }, () => ({})) : accounts;
}

/** How many records of a kind are kept. */
export function recordLimit(record: TestServerOptions["record"]): number {
  if (record === undefined || record === true) return Number.POSITIVE_INFINITY;
  return record === false ? 0 : record;
}

function isCount(value: unknown): boolean {
  return Number.isInteger(value) && Number(value) >= 0;
}

function isDataCenters(value: unknown): boolean {
  if (!Array.isArray(value) || value.length === 0 || new Set(value).size < value.length) return false;
  return value.every((id) => isCount(id) && id >= 1 && id <= 255);
}

const CHECKS: Readonly<Record<keyof TestServerOptions, readonly [(value: unknown) => boolean, string]>> = {
  accounts: [(value) => isCount(value) || Array.isArray(value), "a count or a list of accounts"],
  port: [isCount, "a port"],
  latencyMs: [(value) => typeof value === "number" && value >= 0 && value < 2 ** 31, "milliseconds"],
  sendsSingly: [(value) => typeof value === "boolean", "a boolean"],
  library: [(value) => value === "telegram" || value === "teleproto", '"telegram" or "teleproto"'],
  dataCenters: [isDataCenters, "a list of numbers from 1 to 255, each once"],
  loginTokenMs: [(value) => isCount(value) && value !== 0, "milliseconds, more than 0"],
  record: [(value) => typeof value === "boolean" || isCount(value), "a boolean or a count"],
};

const OPTIONS: readonly string[] = Object.keys(CHECKS);

/** Throws a `TypeError` that names the first option that is unknown or of the wrong kind. */
export function checkOptions(options: TestServerOptions): void {
  for (const [key, value] of Object.entries(options)) {
    if (!Object.hasOwn(CHECKS, key)) throw new TypeError(unknownOption("startTestServer", key, OPTIONS).message);
    const [isRight, expected] = CHECKS[key as keyof TestServerOptions];
    if (value !== undefined && !isRight(value)) {
      throw new TypeError(`${key}: expected ${expected}, got ${JSON.stringify(value)}`);
    }
  }
}
