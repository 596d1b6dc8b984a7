import type { AccountState } from "./account-state.js";
import type { AccountOptions } from "./accounts.js";
import type { ProcessorTime, RuleRequest } from "./fork-messages.js";
import type { ViolationOptions } from "./report.js";
import type { Rule } from "./rules.js";
import type { TelegramTestServer } from "./test-server.js";

/** What another process may ask of a test server. A method's arguments and value have to be structured-cloneable. */
export interface RemoteCommands {
  addAccount(options: AccountOptions): ReturnType<TelegramTestServer["addAccount"]>;
  updateAccount(name: string, change: AccountState): void;
  rule(request: RuleRequest): number;
  ruleHits(rule: number): number;
  removeRule(rule: number): void;
  clearRules(): void;
  disconnect(account?: string): void;
  changeSalt(account: string): void;
  push(account: string, update: Uint8Array): void;
  pause(): Promise<void>;
  resume(): Promise<void>;
  calls(): ReturnType<TelegramTestServer["calls"]>;
  messages(): ReturnType<TelegramTestServer["messages"]>;
  connections(): ReturnType<TelegramTestServer["connections"]>;
  maxConnectionsPerKey(account?: string): number;
  waits(): ReturnType<TelegramTestServer["waits"]>;
  violations(options?: ViolationOptions): ReturnType<TelegramTestServer["violations"]>;
  inFlight(options?: ViolationOptions): ReturnType<TelegramTestServer["inFlight"]>;
  report(options?: ViolationOptions): ReturnType<TelegramTestServer["report"]>;
  clear(): void;
  server(): TelegramTestServer["server"];
  sentCodes(phone?: string): ReturnType<TelegramTestServer["sentCodes"]>;
  expireCodes(): void;
  acceptLogin(account: string, url: string): void;
  authorizationCount(account: string): number;
  processorTime(): ProcessorTime;
}

function accountFields({ name, userId, session, phone }: ReturnType<TelegramTestServer["addAccount"]>) {
  return { name, userId, session, phone };
}

function processorTime(): ProcessorTime {
  const { user, system } = process.cpuUsage();
  return { userMs: user / 1000, systemMs: system / 1000 };
}

/** The commands of a test server in this process. */
export function commandsOf(server: TelegramTestServer): RemoteCommands {
  const rules = new Map<number, Rule>();
  return {
    addAccount: (options) => accountFields(server.addAccount(options)),
    updateAccount: (name, change) => server.updateAccount(name, change),
    rule: ({ match, action }) => {
      const id = rules.size + 1;
      rules.set(id, server.rule(match, action));
      return id;
    },
    ruleHits: (rule) => rules.get(rule)?.hits ?? 0,
    removeRule: (rule) => rules.get(rule)?.remove(),
    clearRules: () => server.clearRules(),
    disconnect: (account) => server.disconnect(account),
    changeSalt: (account) => server.changeSalt(account),
    push: (account, update) => server.push(account, update),
    pause: () => server.pause(),
    resume: () => server.resume(),
    calls: () => server.calls(),
    messages: () => server.messages(),
    connections: () => server.connections(),
    maxConnectionsPerKey: (account) => server.maxConnectionsPerKey(account),
    waits: () => server.waits(),
    violations: (options) => server.violations(options),
    inFlight: (options) => server.inFlight(options),
    report: (options) => server.report(options),
    clear: () => server.clear(),
    server: () => server.server,
    sentCodes: (phone) => server.sentCodes(phone),
    expireCodes: () => server.expireCodes(),
    acceptLogin: (account, url) => server.acceptLogin(account, url),
    authorizationCount: (account) => server.authorizationCount(account),
    processorTime,
  };
}
