import { type ChildProcess, fork } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { AccountState } from "./account-state.js";
import type { AccountOptions, TestServerAccount } from "./accounts.js";
import { encodeAnswer } from "./answers.js";
import type { FailedMessage, ProcessorTime, ReadyMessage } from "./fork-messages.js";
import { testServerClientOptions } from "./libraries.js";
import type { TestServerClientOptions, TlWritable } from "./library.js";
import type { TestServerOptions } from "./options.js";
import type { CallDuringWait, CallRecord, ConnectionRecord, MessageRecord } from "./records.js";
import { RemoteCaller } from "./remote-caller.js";
import {
  type Duplicate,
  type DuplicateOptions,
  duplicatesOf,
  type TestServerReport,
  type ViolationOptions,
} from "./report.js";
import { RuleBook } from "./rule-book.js";
import type { Action, Match } from "./rules.js";
import type { SentCodeRecord } from "./sign-ins.js";
import type { TestServerAddress } from "./test-server.js";
import type { WaitRecord } from "./waits.js";

/** A rule that stands in another process. */
export interface RemoteRule {
  /** How many calls or packets it acted on. */
  hits(): Promise<number>;
  /** Ends it. Twice is a no-op. */
  remove(): Promise<void>;
}

/**
 * A test server in a process of its own: what {@link TelegramTestServer} does, by promises. Handlers and `when` cannot be sent
 * there.
 *
 * Made by {@link forkTestServer}.
 */
export class ForkedTestServer extends RuleBook<Promise<RemoteRule>> implements AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** The accounts it started with. */
  readonly accounts: readonly TestServerAccount[];
  /** What a client of this process needs to reach it. */
  readonly clientOptions: TestServerClientOptions;
  readonly #child: ChildProcess;
  readonly #remote: RemoteCaller;
  #closing: Promise<void> | undefined;

  /** @internal */
  constructor(child: ChildProcess, ready: ReadyMessage, clientOptions: TestServerClientOptions) {
    super();
    this.host = ready.host;
    this.port = ready.port;
    this.accounts = ready.accounts;
    this.clientOptions = clientOptions;
    this.#child = child;
    this.#remote = new RemoteCaller(child);
  }

  /** The StringSessions of the accounts it started with. */
  get sessions(): readonly string[] {
    return this.accounts.map((account) => account.session);
  }

  /** Makes another account. */
  addAccount(options: AccountOptions = {}): Promise<TestServerAccount> {
    return this.#remote.call("addAccount", options);
  }

  /** Changes what Telegram says of an account from now on. */
  updateAccount(name: string, change: AccountState): Promise<void> {
    return this.#remote.call("updateAccount", name, change);
  }

  override async rule(match: Match, action: Action): Promise<RemoteRule> {
    if (match.when !== undefined) throw new TypeError("A test server in another process cannot take `when`");
    const rule = await this.#remote.call("rule", { match, action });
    return {
      hits: () => this.#remote.call("ruleHits", rule),
      remove: () => this.#remote.call("removeRule", rule),
    };
  }

  /** Ends every rule. Waits that run go on. */
  clearRules(): Promise<void> {
    return this.#remote.call("clearRules");
  }

  /** Closes every connection, of one account or of all. */
  disconnect(account?: string): Promise<void> {
    return this.#remote.call("disconnect", account);
  }

  /** Expires the salt of an account: its next packet is answered with the new one. */
  changeSalt(account: string): Promise<void> {
    return this.#remote.call("changeSalt", account);
  }

  /** Sends an update to the connections of an account that take them. */
  push(account: string, update: TlWritable | Uint8Array): Promise<void> {
    return this.#remote.call("push", account, encodeAnswer(update));
  }

  /** What a client adapter needs to make new auth keys with it: the option `server` of `gramjs()` and `teleproto()`. */
  server(): Promise<TestServerAddress> {
    return this.#remote.call("server");
  }

  /** The codes that were sent to people who sign in, the oldest first: of one phone number, or all. */
  sentCodes(phone?: string): Promise<readonly SentCodeRecord[]> {
    return this.#remote.call("sentCodes", phone);
  }

  /** Expires the codes that were sent and not used. */
  expireCodes(): Promise<void> {
    return this.#remote.call("expireCodes");
  }

  /** Accepts a login token for an account, as its phone does when it scans the QR code. */
  acceptLogin(account: string, url: string): Promise<void> {
    return this.#remote.call("acceptLogin", account, url);
  }

  /** How many auth keys an account is signed in with. */
  authorizationCount(account: string): Promise<number> {
    return this.#remote.call("authorizationCount", account);
  }

  /** Becomes unreachable. */
  pause(): Promise<void> {
    return this.#remote.call("pause");
  }

  /** Becomes reachable again, on the same port. */
  resume(): Promise<void> {
    return this.#remote.call("resume");
  }

  /** Every API request, with those of connects. */
  calls(): Promise<readonly CallRecord[]> {
    return this.#remote.call("calls");
  }

  /** Every message that took effect. */
  messages(): Promise<readonly MessageRecord[]> {
    return this.#remote.call("messages");
  }

  /** Every connection whose auth key is known. */
  connections(): Promise<readonly ConnectionRecord[]> {
    return this.#remote.call("connections");
  }

  /** How many connections of one auth key were open at once, at most: of that account, or of any. */
  maxConnectionsPerKey(account?: string): Promise<number> {
    return this.#remote.call("maxConnectionsPerKey", account);
  }

  /** Every wait that was sent. */
  waits(): Promise<readonly WaitRecord[]> {
    return this.#remote.call("waits");
  }

  /** The calls that came although the client knew of a wait. */
  violations(options?: ViolationOptions): Promise<readonly CallDuringWait[]> {
    return this.#remote.call("violations", options);
  }

  /** The calls that came in a wait but were on the wire before the client knew of it. */
  inFlight(options?: ViolationOptions): Promise<readonly CallDuringWait[]> {
    return this.#remote.call("inFlight", options);
  }

  /** The messages that took effect more often than once. */
  async duplicates(options?: DuplicateOptions): Promise<readonly Duplicate[]> {
    return duplicatesOf(await this.messages(), options);
  }

  /** All of these at once. */
  report(options?: ViolationOptions): Promise<TestServerReport> {
    return this.#remote.call("report", options);
  }

  /** Forgets what was recorded. */
  clear(): Promise<void> {
    return this.#remote.call("clear");
  }

  /** The processor time its process used since it started. */
  processorTime(): Promise<ProcessorTime> {
    return this.#remote.call("processorTime");
  }

  /** Ends the process. A second call returns the same promise. */
  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) return resolve();
      this.#child.once("exit", () => resolve());
      this.#child.kill("SIGTERM");
    });
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** The program beside this file: built, or as it is written, which takes tsx to run. */
function script(): { readonly path: string; readonly execArgv: string[] } {
  const built = fileURLToPath(new URL("./test-server-process.js", import.meta.url));
  if (existsSync(built)) return { path: built, execArgv: [] };
  return { path: built.replace(/\.js$/, ".ts"), execArgv: ["--import", "tsx"] };
}

function whenReady(child: ChildProcess): Promise<ReadyMessage> {
  return new Promise((resolve, reject) => {
    const fail = (reason: string): void => reject(new Error(`The test server did not start: ${reason}`));
    child.once("error", (error) => fail(error.message));
    child.once("exit", (code, signal) => fail(`its process ended with ${code ?? signal}`));
    child.once("message", (message) => {
      const told = message as ReadyMessage | FailedMessage;
      if (told.kind === "ready") resolve(told);
      else fail(told.reason);
    });
  });
}

/**
 * Starts a test server in a process of its own, so that it takes no time of this one's event loop. It ends with
 * `close()`, and with this process.
 */
export async function forkTestServer(options: TestServerOptions = {}): Promise<ForkedTestServer> {
  const { path, execArgv } = script();
  const child = fork(path, [JSON.stringify(options)], {
    execArgv,
    serialization: "advanced",
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const ready = await whenReady(child);
  const clientOptions = await testServerClientOptions({ ...ready, library: options.library });
  return new ForkedTestServer(child, ready, clientOptions);
}
