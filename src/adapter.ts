/** Entry point `telegram-session-pool/adapter`: everything needed to write a client adapter for another Telegram library. */
export type { Clock, Timer } from "./common/clock.js";
export {
  type ClientAdapter,
  type ClientHandle,
  ConnectionLostError,
  type CreateClientOptions,
  type FloodWait,
  HeldBackError,
  type InFlightRequest,
  type OutgoingRequest,
  type PeerStore,
  type RequestGate,
  UnreadableAnswerError,
} from "./connections/client-adapter.js";
export type { LeaseScope } from "./connections/lease-scope.js";
export type { SignInClient, SignInOptions, TelegramObject } from "./connections/sign-in-client.js";
export { type ClientGuardRules, guardClient as guard } from "./lease/guard-client.js";
export type { ClientProfile, ResolvedProfile } from "./options/client-profile.js";
export type { ProxyProfile } from "./options/proxy.js";
export type { KnownPeer } from "./telegram/peer-cache.js";
export type { PeerReference } from "./telegram/peers.js";
export type { DataCenterAddress, SessionData } from "./telegram/session-string.js";
