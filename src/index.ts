/// <reference lib="esnext.disposable" preserve="true" />

export { type Clock, systemClock, type Timer } from "./common/clock.js";
export { type AesGcmOptions, type AesKey, aesGcm, type Sealer } from "./encryption/sealer.js";
export {
  AcquireTimeoutError,
  type AddedSession,
  AddManyInputError,
  type AddManyReport,
  AddManyStorageError,
  AttemptTimeoutError,
  CallTimeoutError,
  ConnectError,
  DuplicateSessionError,
  InvalidSessionError,
  LeaseReleasedError,
  LoginError,
  type LoginErrorCode,
  NoProgressError,
  NoSessionAvailableError,
  OptionsError,
  OutcomeUnknownError,
  OwnershipLostError,
  PoolClosedError,
  QueueFullError,
  ReadOnlyLeaseError,
  type RefusedSession,
  RotationUnsafeError,
  SessionNotFoundError,
  SessionPoolError,
  type SessionPoolErrorCode,
  StorageCorruptError,
  StorageError,
} from "./errors.js";
export type { SessionPoolEvents } from "./events.js";
export type { BulkRunInfo } from "./jobs/bulk/bulk-run-manager.js";
export type { ResponseOf } from "./jobs/invoke.js";
export type { IterateWork } from "./jobs/iterate.js";
export type { CooldownTarget, Lease, LeaseInfo } from "./lease/lease.js";
export type { HistogramSnapshot } from "./observability/histogram.js";
export type {
  CallMetrics,
  CallOutcome,
  FloodMetrics,
  MetricsSnapshot,
  PoolGauges,
  PoolMetrics,
  ReasonMetrics,
} from "./observability/pool-metrics.js";
export type { Incident, IncidentKind, PoolTimeline, TimelineBucket } from "./observability/timeline.js";
export type { AcquireTrace, CallTrace, ConnectTrace, Trace, TraceError, UseTrace } from "./observability/tracing.js";
export type { BudgetedCall, BudgetStrategy } from "./options/budget-strategy.js";
export type { Budget, Budgets, CallLimit } from "./options/budgets.js";
export type { ClientProfile } from "./options/client-profile.js";
export type {
  AcquireOptions,
  AddManyOptions,
  AddManyProgress,
  AddOptions,
  CheckOptions,
  CheckProgress,
  DuplicateOptions,
  LoadProgress,
  LogFields,
  Logger,
  LogLevel,
  MapCheckpoint,
  MapOptions,
  MapProgress,
  MapResult,
  MapRun,
  NewSession,
  OwnershipOptions,
  PerItem,
  RetryPolicy,
  RotateKeysOptions,
  RotateKeysProgress,
  SessionChange,
  SessionPoolOptions,
  UseOptions,
} from "./options/options.js";
export { type ConservativeMethod, type Presets, presets } from "./options/presets.js";
export type { ProxyProfile } from "./options/proxy.js";
export type {
  RandomSelection,
  SelectionStrategy,
  SessionSelection,
  WeightedSelection,
} from "./options/selection-strategy.js";
export type { SessionHolder } from "./ownership/ownership.js";
export type { PartialCooldown, PoolObservation, PoolView, SessionDetails } from "./pool-observation.js";
export type { PoolStatus, SessionHealth, SessionInfo, SessionState } from "./session-info.js";
export { SessionPool } from "./session-pool.js";
export { memory } from "./storage/memory.js";
export type {
  PeerField,
  PeerStorage,
  RecordWrite,
  SessionStorage,
  StoredPeer,
  StoredRecord,
  WriteResult,
} from "./storage/storage.js";
export {
  type DataCenterAddress,
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
