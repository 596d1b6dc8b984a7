/// <reference lib="esnext.disposable" preserve="true" />
export type { AccountOptions, DataCentreAccount } from "./data-centre/accounts.js";
export { type Answer, type Call, type Handler, RpcError } from "./data-centre/call.js";
export { DataCentre, startDataCentre } from "./data-centre/data-centre.js";
export { ForkedDataCentre, forkDataCentre, type RemoteRule } from "./data-centre/fork.js";
export type { ProcessorTime } from "./data-centre/fork-messages.js";
export { dataCentreClientOptions } from "./data-centre/libraries.js";
export type {
  DataCentreClientOptions,
  LibraryName,
  TlFactory,
  TlObject,
  TlWritable,
} from "./data-centre/library.js";
export type { DataCentreOptions } from "./data-centre/options.js";
export type { CallRecord, ConnectionRecord, MessageRecord, WaitedCall } from "./data-centre/records.js";
export type { DataCentreReport, Duplicate, DuplicateOptions, ViolationOptions } from "./data-centre/report.js";
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
