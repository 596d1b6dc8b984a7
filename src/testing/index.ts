/// <reference lib="esnext.disposable" preserve="true" />
export type { AccountOptions, TestServerAccount } from "./data-centre/accounts.js";
export { type Answer, type Call, type Handler, RpcError } from "./data-centre/call.js";
export { startTestServer, TelegramTestServer } from "./data-centre/data-centre.js";
export { ForkedTestServer, forkTestServer, type RemoteRule } from "./data-centre/fork.js";
export type { ProcessorTime } from "./data-centre/fork-messages.js";
export { testServerClientOptions } from "./data-centre/libraries.js";
export type {
  LibraryName,
  TestServerClientOptions,
  TlFactory,
  TlObject,
  TlWritable,
} from "./data-centre/library.js";
export type { TestServerOptions } from "./data-centre/options.js";
export type { CallDuringWait, CallRecord, ConnectionRecord, MessageRecord } from "./data-centre/records.js";
export type { Duplicate, DuplicateOptions, TestServerReport, ViolationOptions } from "./data-centre/report.js";
export type { RevokeOptions, RuleBook, Shorthand } from "./data-centre/rule-book.js";
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
} from "./data-centre/rules.js";
export type { WaitScope } from "./data-centre/violations.js";
export type { WaitRecord } from "./data-centre/waits.js";
export { type ContractMatchers, type StorageContractOptions, testSessionStorage } from "./storage-contract.js";
