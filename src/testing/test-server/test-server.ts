import type { Socket } from "node:net";
import { type Account, type AccountOptions, Accounts, type TestServerAccount } from "./accounts.js";
import { encodeAnswer } from "./answers.js";
import { type Handler, methodName } from "./call.js";
import { Chats } from "./chats.js";
import { Connections } from "./connections.js";
import { builtInHandlers } from "./handlers/index.js";
import { type Libraries, loadLibraries } from "./libraries.js";
import type { TestServerClientOptions, TlWritable } from "./library.js";
import { Listener } from "./listener.js";
import { accountOptions, checkOptions, recordLimit, type TestServerOptions } from "./options.js";
import { PeerDirectory } from "./peer-directory.js";
import { type CallDuringWait, type CallRecord, type ConnectionRecord, type MessageRecord, Records } from "./records.js";
import {
  type Duplicate,
  type DuplicateOptions,
  Report,
  type TestServerReport,
  type ViolationOptions,
} from "./report.js";
import { RuleBook } from "./rule-book.js";
import { type Action, type Match, type Rule, Rules } from "./rules.js";
import type { Services } from "./services.js";
import { Timers } from "./timers.js";
import { Uploads } from "./uploads.js";
import { type WaitRecord, Waits } from "./waits.js";

const HOST = "127.0.0.1";

/**
 * A Telegram test server of your own, on the loopback interface. It speaks MTProto, so that an unmodified client
 * library connects to it; knows accounts, users, channels and messages; misbehaves on demand by {@link rule}; and
 * records all that happens.
 *
 * Made by {@link startTestServer}.
 */
export class TelegramTestServer extends RuleBook<Rule> implements AsyncDisposable {
  readonly host: string = HOST;
  /** What a client needs to reach it. */
  readonly clientOptions: TestServerClientOptions;
  readonly #services: Services;
  readonly #listener: Listener;
  readonly #report: Report;
  readonly #connections: Connections;
  #closing: Promise<void> | undefined;

  private constructor(libraries: Libraries, listener: Listener, options: TestServerOptions) {
    super();
    this.#listener = listener;
    this.#services = servicesOf(libraries, options);
    this.#services.port = listener.port;
    this.#report = new Report(this.#services.records, this.#services.waits);
    this.#connections = new Connections(this.#services, options);
    this.clientOptions = libraries.main.clientOptions(HOST, listener.port);
    for (const account of accountOptions(options.accounts)) this.addAccount(account);
  }

  /** @internal */
  static async start(options: TestServerOptions): Promise<TelegramTestServer> {
    checkOptions(options);
    const libraries = await loadLibraries(options.library);
    let accept: (socket: Socket) => void = (socket) => socket.destroy();
    const listener = new Listener(HOST, options.port ?? 0, (socket) => accept(socket));
    await listener.open();
    try {
      const server = new TelegramTestServer(libraries, listener, options);
      accept = (socket) => server.#connections.accept(socket);
      return server;
    } catch (error) {
      await listener.close();
      throw error;
    }
  }

  get port(): number {
    return this.#listener.port;
  }

  /** Its accounts, in the order they were made. */
  get accounts(): readonly TestServerAccount[] {
    return this.#services.accounts.all();
  }

  /** The StringSessions of its accounts. */
  get sessions(): readonly string[] {
    return this.accounts.map((account) => account.session);
  }

  /** Makes another account. Throws a `TypeError` when its name or session is taken. */
  addAccount(options: AccountOptions = {}): TestServerAccount {
    return this.#services.accounts.add(options, HOST, this.port);
  }

  /** Answers a method: `"messages.GetHistory"` or `"messages.getHistory"`. Replaces what answered it before. */
  handle(method: string, handler: Handler): void {
    this.#checkMethod(method);
    this.#services.handlers.set(methodName(method), handler);
  }

  override rule(match: Match, action: Action): Rule {
    for (const method of [match.method ?? []].flat()) this.#checkMethod(method);
    if (match.account !== undefined) this.#accountNamed(match.account);
    return this.#services.rules.add(match, action);
  }

  /** Ends every rule. Waits that run go on. */
  clearRules(): void {
    this.#services.rules.clear();
  }

  /** Closes every connection, of one account or of all. */
  disconnect(account?: string): void {
    this.#connections.destroy(account);
  }

  /** Expires the salt of an account, as Telegram does twice an hour: its next packet is told the new one. */
  changeSalt(account: string): void {
    this.#accountNamed(account).changeSalt();
  }

  /**
   * Sends an update (an object of the type `Updates`, or its bytes) to the connections of an account that take them:
   * those that made a call outside `invokeWithoutUpdates`.
   */
  push(account: string, update: TlWritable | Uint8Array): void {
    this.#connections.push(account, Buffer.from(encodeAnswer(update)));
  }

  /** Becomes unreachable: the listener and every connection close. */
  async pause(): Promise<void> {
    const closed = this.#listener.close();
    this.disconnect();
    await closed;
  }

  /** Becomes reachable again, on the same port. */
  async resume(): Promise<void> {
    if (this.#closing === undefined) await this.#listener.open();
  }

  /** Every API request, with those of connects. */
  calls(): readonly CallRecord[] {
    return this.#report.calls();
  }

  /** Every message that took effect. */
  messages(): readonly MessageRecord[] {
    return this.#report.messages();
  }

  /** Every connection whose auth key is known. */
  connections(): readonly ConnectionRecord[] {
    return this.#report.connections();
  }

  /** How many connections of one auth key were open at once, at most: of that account, or of any. */
  maxConnectionsPerKey(account?: string): number {
    return this.#report.maxConnectionsPerKey(account);
  }

  /** Every wait that was told. */
  waits(): readonly WaitRecord[] {
    return this.#report.waits();
  }

  /**
   * The calls that came although the client knew of a wait: in a packet after the one that acknowledged it, on a
   * connection opened after it was told, or, never acknowledged, more than a second after. Calls of connects do not
   * count.
   */
  violations(options?: ViolationOptions): readonly CallDuringWait[] {
    return this.#report.violations(options);
  }

  /** The calls that came in a wait but were on the wire before the client knew of it. */
  inFlight(options?: ViolationOptions): readonly CallDuringWait[] {
    return this.#report.inFlight(options);
  }

  /** The messages that took effect more often than once. */
  duplicates(options?: DuplicateOptions): readonly Duplicate[] {
    return this.#report.duplicates(options);
  }

  /** All of these at once. */
  report(options?: ViolationOptions): TestServerReport {
    return this.#report.all(options);
  }

  /** Forgets what was recorded. Rules, open connections, waits that run and messages in conversations stay. */
  clear(): void {
    this.#services.records.clear();
    this.#services.waits.clear(Date.now());
  }

  /** Closes listener, connections and timers. A second call returns the same promise. */
  close(): Promise<void> {
    this.#closing ??= this.pause().then(() => this.#services.timers.clear());
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #accountNamed(name: string): Account {
    const account = this.#services.accounts.named(name);
    if (account === undefined) throw new TypeError(`There is no account ${name}`);
    return account;
  }

  #checkMethod(method: string): void {
    if (!this.#services.libraries.hasMethod(methodName(method))) throw new TypeError(`There is no method ${method}`);
  }
}

function servicesOf(libraries: Libraries, options: TestServerOptions): Services {
  const accounts = new Accounts();
  const services: Services = {
    host: HOST,
    port: 0,
    libraries,
    accounts,
    world: new PeerDirectory(accounts),
    chats: new Chats(),
    uploads: new Uploads(),
    records: new Records(recordLimit(options.record)),
    rules: new Rules(),
    waits: new Waits(recordLimit(options.record)),
    timers: new Timers(),
    handlers: new Map(),
  };
  for (const [method, handler] of builtInHandlers(services)) services.handlers.set(method, handler);
  return services;
}

/**
 * Starts a test server in this process, on 127.0.0.1. It needs a client library (`telegram` or `teleproto`) to be
 * installed.
 *
 * @example
 * await using server = await startTestServer({ accounts: 2 });
 * server.limit("messages.SendMessage", { calls: 20, perMs: 1_000 });
 * const session = new StringSession(server.sessions[0]);
 * const client = new TelegramClient(session, 1, "x", { ...server.clientOptions, connectionRetries: 1 });
 */
export function startTestServer(options: TestServerOptions = {}): Promise<TelegramTestServer> {
  return TelegramTestServer.start(options);
}
