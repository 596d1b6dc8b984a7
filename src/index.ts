/// <reference lib="esnext.disposable" preserve="true" />
export type { Budget, Budgets, CallLimit } from "./budget-options.js";
export type { BudgetedCall, BudgetStrategy } from "./budget-strategy.js";
export type { ClientProfile, ProxyProfile } from "./client-profile.js";
export { type Clock, systemClock, type Timer } from "./clock.js";
export type {
  ClientAdapter,
  ClientHandle,
  CreateClientOptions,
  FloodWait,
  InFlightRequest,
  OutgoingRequest,
  PeerStore,
  RequestGate,
} from "./connections/client-adapter.js";
export { ConnectionLostError, RequestBlockedError, UnreadableAnswerError } from "./connections/client-adapter.js";
export { type ClientGuardRules, guardClient } from "./connections/guard.js";
export type { LeaseScope } from "./connections/lease-scope.js";
export {
  AcquireTimeoutError,
  AttemptTimeoutError,
  CallTimeoutError,
  ConnectError,
  DuplicateSessionError,
  InvalidSessionError,
  LeaseReleasedError,
  NoProgressError,
  NoSessionAvailableError,
  OptionsError,
  OutcomeUnknownError,
  OwnershipLostError,
  PoolClosedError,
  QueueFullError,
  RotationUnsafeError,
  SessionNotFoundError,
  SessionPoolError,
  type SessionPoolErrorCode,
  StorageCorruptError,
  StorageError,
} from "./errors.js";
export type { SessionPoolEvents } from "./events.js";
export type {
  AcquireOptions,
  AddOptions,
  LogFields,
  Logger,
  LogLevel,
  MapCheckpoint,
  MapOptions,
  MapProgress,
  MapResult,
  MapRun,
  OwnershipOptions,
  PerItem,
  RetryPolicy,
  SessionChange,
  SessionPoolOptions,
  UseOptions,
} from "./options.js";
export type { IterateWork } from "./pool/iterate.js";
export type { CooldownTarget, Lease, LeaseInfo } from "./pool/lease.js";
export { type ResponseOf, SessionPool } from "./pool/session-pool.js";
export { type ConservativeMethod, type Presets, presets } from "./presets.js";
export { memory } from "./records/memory-storage.js";
export { type AesGcmOptions, type AesKey, aesGcm, type Sealer } from "./records/sealing/sealing.js";
export type { PeerStorage, SessionStorage, StoredPeer, StoredRecord } from "./records/storage.js";
export type {
  RandomSelection,
  SelectionStrategy,
  SessionSelection,
  WeightedSelection,
} from "./selection-strategy.js";
export type { PoolStatus, SessionInfo, SessionState } from "./session-info.js";
export type { KnownPeer } from "./telegram/peer-cache.js";
export {
  type DataCentreAddress,
  formatSession,
  parseSession,
  type SessionData,
  type SessionFormat,
} from "./telegram/session-string.js";
export {
  classifyTelegramError,
  type ErrorContext,
  type Verdict,
  type VerdictKind,
  type VerdictScope,
} from "./telegram/verdicts.js";
