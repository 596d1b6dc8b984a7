import { type AccountState, changedState, checkStateFields } from "./account-state.js";
import { type Account, type AccountOptions, Accounts, type TestServerAccount } from "./accounts.js";
import { encodeAnswer } from "./answers.js";
import { type Handler, methodName } from "./call.js";
import { Chats } from "./chats.js";
import { Connections } from "./connections.js";
import { DataCenters } from "./data-centers.js";
import { builtInHandlers } from "./handlers/index.js";
import { acceptToken } from "./handlers/signing-in.js";
import { serverKeyPair } from "./key-exchange.js";
import { type Libraries, loadLibraries } from "./libraries.js";
import type { TestServerClientOptions, TlWritable } from "./library.js";
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
import { DC_ID } from "./session-string.js";
import { type SentCodeRecord, SignIns } from "./sign-ins.js";
import { Timers } from "./timers.js";
import { Uploads } from "./uploads.js";
import { type WaitRecord, Waits } from "./waits.js";

const HOST = "127.0.0.1";
const LOGIN_TOKEN_MS = 30_000;

/** Where a private server is, and the RSA key that proves it is the one. */
export interface TestServerAddress {
  readonly dcId: number;
  readonly host: string;
  readonly port: number;
  /** In PEM. */
  readonly publicKey: string;
}

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
  readonly #report: Report;
  readonly #connections: Connections;
  #closing: Promise<void> | undefined;

  private constructor(libraries: Libraries, dataCenters: DataCenters, options: TestServerOptions) {
    super();
    this.#services = servicesOf(libraries, dataCenters, options, (authorization, update) =>
      this.#connections.pushTo(authorization, Buffer.from(encodeAnswer(update))),
    );
    this.#report = new Report(this.#services.records, this.#services.waits);
    this.#connections = new Connections(this.#services, options);
    this.clientOptions = libraries.main.clientOptions(HOST, this.port);
    for (const account of accountOptions(options.accounts)) this.addAccount(account);
  }

  /** @internal */
  static async start(options: TestServerOptions): Promise<TelegramTestServer> {
    checkOptions(options);
    const libraries = await loadLibraries(options.library);
    let connections: Connections | undefined;
    const dataCenters = new DataCenters(options.dataCenters ?? [DC_ID], HOST, options.port ?? 0, (socket, dcId) => {
      if (connections === undefined) socket.destroy();
      else connections.accept(socket, dcId);
    });
    await dataCenters.open();
    try {
      const server = new TelegramTestServer(libraries, dataCenters, options);
      connections = server.#connections;
      return server;
    } catch (error) {
      await dataCenters.close();
      throw error;
    }
  }

  /** The port of its first data center. */
  get port(): number {
    return this.#services.dataCenters.home.port;
  }

  /**
   * What a client adapter needs to make new auth keys with it, and to connect to it without `clientOptions`: the option
   * `server` of `gramjs()` and `teleproto()`.
   *
   * @example
   * const client = gramjs({ apiId: 1, apiHash: "test", server: server.server });
   */
  get server(): TestServerAddress {
    const { id, port } = this.#services.dataCenters.home;
    return { dcId: id, host: HOST, port, publicKey: serverKeyPair().pem };
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
    const { accounts, dataCenters } = this.#services;
    return accounts.add(options, HOST, dataCenters.home.id, (dcId) => dataCenters.portOf(dcId));
  }

  /**
   * Changes what Telegram says of an account from now on: Premium, restrictions, a freeze, when its authorizations end. The
   * fields that are not given stay. Throws a `TypeError` for an unknown account or field.
   *
   * @example
   * server.updateAccount("alice", { freeze: { until: Date.now() + 86_400_000 } });
   */
  updateAccount(name: string, change: AccountState): void {
    const account = this.#accountNamed(name);
    checkStateFields(change);
    account.state = changedState(account.state, change);
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

  /** Expires the salt of an account, as Telegram does twice an hour: its next packet is answered with the new one. */
  changeSalt(account: string): void {
    const { accounts } = this.#services;
    for (const authorization of accounts.authorizationsOf(this.#accountNamed(account))) authorization.changeSalt();
  }

  /**
   * Sends an update (an object of the type `Updates`, or its bytes) to the connections of an account that take them:
   * those that made a call outside `invokeWithoutUpdates`.
   */
  push(account: string, update: TlWritable | Uint8Array): void {
    this.#connections.push(account, Buffer.from(encodeAnswer(update)));
  }

  /** The codes that were sent to people who sign in, the oldest first: of one phone number, or all. */
  sentCodes(phone?: string): readonly SentCodeRecord[] {
    return this.#services.signIns.sentCodes(phone);
  }

  /** Expires the codes that were sent and not used: PHONE_CODE_EXPIRED. */
  expireCodes(): void {
    this.#services.signIns.expireCodes();
  }

  /**
   * Accepts a login token for an account, as its phone does when it scans the QR code; `url` is what the code says, or the
   * token in base64url. Throws an {@link RpcError} for a token that has expired, was accepted before, or is none.
   */
  acceptLogin(account: string, url: string): void {
    const token = Buffer.from(url.replace(/^tg:\/\/login\?token=/, ""), "base64url");
    acceptToken(this.#services, token, this.#accountNamed(account));
  }

  /** How many auth keys an account is signed in with. */
  authorizationCount(account: string): number {
    return this.#services.accounts.authorizationsOf(this.#accountNamed(account)).length;
  }

  /** Becomes unreachable: the listener and every connection close. */
  async pause(): Promise<void> {
    const closed = this.#services.dataCenters.close();
    this.disconnect();
    await closed;
  }

  /** Becomes reachable again, on the same port. */
  async resume(): Promise<void> {
    if (this.#closing === undefined) await this.#services.dataCenters.open();
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

  /** Every wait that was sent. */
  waits(): readonly WaitRecord[] {
    return this.#report.waits();
  }

  /**
   * The calls that came although the client knew of a wait: in a packet after the one that acknowledged it, on a
   * connection opened after it was sent, or, never acknowledged, more than a second after. Calls of connects do not
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

function servicesOf(
  libraries: Libraries,
  dataCenters: DataCenters,
  options: TestServerOptions,
  pushTo: Services["pushTo"],
): Services {
  const accounts = new Accounts();
  const services: Services = {
    host: HOST,
    dataCenters,
    signIns: new SignIns(accounts, options.loginTokenMs ?? LOGIN_TOKEN_MS),
    pushTo,
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
