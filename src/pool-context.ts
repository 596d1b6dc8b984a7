import type { Clock } from "./common/clock.js";
import { Emitter } from "./common/emitter.js";
import { inBackground } from "./common/own-context.js";
import { PoolTime } from "./common/pool-time.js";
import type { SessionPoolEvents } from "./events.js";
import { PoolLog, type StoragePart } from "./observability/pool-log.js";
import { MetricsSwitch } from "./observability/pool-metrics.js";
import { tracePoint } from "./observability/tracing.js";
import type { ResolvedOptions } from "./options/options.js";
import type { KnownPeer } from "./telegram/peer-cache.js";

/** Values shared by all parts of a pool. The first parameter of their constructors, before the parts they depend on. */
export interface PoolContext<Client = unknown> {
  /** The options, checked and with their defaults. Their clock times what a caller waits for, in the caller's async context. */
  readonly options: ResolvedOptions<Client>;
  /** The same clock, whose timers run in the pool's own async context. */
  readonly clock: Clock;
  /** The pool's time line. */
  readonly time: PoolTime;
  readonly log: PoolLog;
  readonly events: PoolEvents;
  /** Whether the pool is measured, and by what. */
  readonly metrics: MetricsSwitch;
}

/** The events by which the parts of a pool inform each other. */
export interface PartEvents {
  /** A session may have become available: waiters can be served. */
  available(): void;
  /** The availability of a session has changed, mostly for the worse: some waiters may have to be rejected. */
  availabilityChanged(): void;
  /** A rate limit of a session is reached. Like `availabilityChanged`, but of no effect unless a caller waits. */
  rateLimited(): void;
  /** A caller found no session: it waits, or is about to be refused. */
  noneAvailable(): void;
  /** Sessions could not connect and back off. A waiting caller may have no other session left. */
  connectFailed(): void;
  /** A blocked session is free again. `isAnnounced`: an event for the user has announced what blocked it. */
  recovered(id: string, isAnnounced: boolean): void;
  /** The session must not be used any more; its client can be closed. */
  dead(id: string): void;
  /** Telegram has restricted the session or declared it dead. */
  unhealthy(id: string): void;
  /** The client of the session has connected. */
  connected(id: string): void;
  /** The client of the session has connected, and Telegram was asked for the account if that was not known. */
  identified(id: string): void;
  /** Telegram has refused a request of the session because its account is frozen, and has named no end. */
  frozen(id: string): void;
  /** The time is known, or has changed, at which Telegram terminates the session if it stays unused. */
  expiryLearned(id: string): void;
  /** The record of a session that another process has added was read. */
  discovered(id: string): void;
  /** The session has changed in a way that may start or end its need of a persistent connection. */
  changed(id: string): void;
  /** The last lease of a session that is being removed has ended. */
  vacated(id: string): void;
  /** Another process may use the session: its leases and its client must end at once. */
  ownershipLost(id: string): void;
  /** A session has learned of a peer, or that something about it has changed. */
  peerLearned(id: string, peer: KnownPeer): void;
  /** The session knows no peer any more. */
  peersCleared(id: string): void;
  /** The storage has failed; `part` is given for traffic that is retried until it works again. */
  storageFailed(error: Error, part?: StoragePart): void;
  /** A part of the storage works. */
  storageWorks(part: StoragePart): void;
}

/** Publishes an event to the listeners of the pool. */
export type Publish = <Name extends keyof SessionPoolEvents>(
  name: Name,
  event: Parameters<SessionPoolEvents[Name]>[0],
) => void;

/** Names of the events that have listeners. */
export interface SubscribedEvents {
  has(name: keyof SessionPoolEvents): boolean;
}

/** The events between the parts of a pool (`on`, `emit`), and those for the user's listeners (`publish`). */
export class PoolEvents extends Emitter<PartEvents> {
  /** Logs the event and hands it to the listeners of the pool. */
  readonly publish: Publish;
  /** The events that have listeners. Events of every lease are not created without a listener. */
  readonly subscribed: SubscribedEvents;

  constructor(log: PoolLog, metrics: MetricsSwitch, publish: Publish, subscribed: SubscribedEvents) {
    super();
    this.publish = (name, event) => {
      log.event(name, event);
      tracePoint(name, event);
      metrics.timeline?.recordEvent(name, event);
      publish(name, event);
    };
    this.subscribed = subscribed;
    this.on("storageFailed", (error, part) => {
      if (part === undefined) log.write("error", error.message, { event: "storageFailed", reason: error.message });
      else log.storageFailed(part, error);
      this.publish("storageFailed", { error });
    });
    this.on("storageWorks", (part) => log.storageWorks(part));
  }
}

/** Creates what the parts of one pool share. */
export function createContext<Client>(
  options: ResolvedOptions<Client>,
  publish: Publish,
  subscribed: SubscribedEvents,
): PoolContext<Client> {
  const clock = inBackground(options.clock);
  const log = new PoolLog(options.logger, clock);
  const metrics = new MetricsSwitch();
  const events = new PoolEvents(log, metrics, publish, subscribed);
  events.on("storageFailed", () => {
    if (metrics.recorder !== undefined) metrics.recorder.storageFailures++;
  });
  events.on("ownershipLost", () => {
    if (metrics.recorder !== undefined) metrics.recorder.ownershipLost++;
  });
  return { options, clock, time: new PoolTime(options.clock), log, events, metrics };
}
