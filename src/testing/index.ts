/// <reference lib="esnext.disposable" preserve="true" />

export { type ContractMatchers, type StorageContractOptions, testSessionStorage } from "./storage-contract.js";
export type { AccountState, TestServerFreeze, TestServerRestriction } from "./test-server/account-state.js";
export type { AccountOptions, TestServerAccount } from "./test-server/accounts.js";
export { type Answer, type Call, type Handler, RpcError } from "./test-server/call.js";
export { ForkedTestServer, forkTestServer, type RemoteRule } from "./test-server/fork.js";
export type { ProcessorTime } from "./test-server/fork-messages.js";
export { testServerClientOptions } from "./test-server/libraries.js";
export type {
  LibraryName,
  TestServerClientOptions,
  TlFactory,
  TlObject,
  TlWritable,
} from "./test-server/library.js";
export type { TestServerOptions } from "./test-server/options.js";
export type { CallDuringWait, CallRecord, ConnectionRecord, MessageRecord } from "./test-server/records.js";
export type { Duplicate, DuplicateOptions, TestServerReport, ViolationOptions } from "./test-server/report.js";
export type { RevokeOptions, RuleBook, Shorthand } from "./test-server/rule-book.js";
export type {
  Action,
  CutAction,
  DelayAction,
  FailAction,
  IgnoreAction,
  LimitAction,
  Match,
  MuteAction,
  Rule,
  TransportErrorAction,
} from "./test-server/rules.js";
export type { CodeDelivery, SentCodeRecord } from "./test-server/sign-ins.js";
export { startTestServer, TelegramTestServer, type TestServerAddress } from "./test-server/test-server.js";
export type { WaitScope } from "./test-server/violations.js";
export type { WaitRecord } from "./test-server/waits.js";
