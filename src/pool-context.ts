import type { Clock } from "./common/clock.js";
import { Emitter } from "./common/emitter.js";
import { inBackground } from "./common/own-context.js";
import { PoolTime } from "./common/pool-time.js";
import type { SessionPoolEvents } from "./events.js";
import { PoolLog, type StoragePart } from "./observability/pool-log.js";
import type { ResolvedOptions } from "./options/options.js";

/** What every part of a pool shares: the first argument of its constructor, before the parts it is built on. */
export interface PoolContext<Client = unknown> {
  /** The options, checked and with their defaults. Their clock times what a caller waits for, in the caller's async context. */
  readonly options: ResolvedOptions<Client>;
  /** The same clock, whose timers run in the pool's own async context. */
  readonly clock: Clock;
  /** The pool's time line. */
  readonly time: PoolTime;
  readonly log: PoolLog;
  readonly events: PoolEvents;
}

/** The events by which the parts of a pool inform each other. */
export interface PartEvents {
  /** A session may have become available. */
  available(): void;
  /** A session cools down longer or is lost: some callers may wait for nothing now. */
  unavailable(): void;
  /** The rate limit of a session is reached: as `unavailable`, for those who wait alone. */
  rateLimited(): void;
  /** Sessions could not connect and back off: they may have been the last that a caller could hope for. */
  connectFailed(): void;
  /** Nothing keeps the session from work any longer. `isAnnounced`: listeners of the pool heard of what did. */
  recovered(id: string, isAnnounced: boolean): void;
  /** The session must not be used any more: its client can go. */
  dead(id: string): void;
  /** Telegram has restricted the session, or called it dead. */
  unhealthy(id: string): void;
  /** A session that another process has added, or its record, was read. */
  discovered(id: string): void;
  /** The session may need a persistent connection now, or need it no longer. */
  changed(id: string): void;
  /** The last lease of a session that is being removed has ended. */
  vacated(id: string): void;
  /** Another process may use the session: its leases and its client have to go at once. */
  ownershipLost(id: string): void;
  /** The storage has failed; with `part`, what works again by itself. */
  storageFailed(error: Error, part?: StoragePart): void;
  /** That part of the storage works. */
  storageWorks(part: StoragePart): void;
}

/** Publishes an event to the listeners of the pool. */
export type Publish = <Name extends keyof SessionPoolEvents>(
  name: Name,
  event: Parameters<SessionPoolEvents[Name]>[0],
) => void;

/** Whether the pool has a listener of that event. */
export type IsHeard = (name: keyof SessionPoolEvents) => boolean;

/** The events between the parts of a pool (`on`, `emit`), and those for the user's listeners (`publish`). */
export class PoolEvents extends Emitter<PartEvents> {
  /** Logs the event and hands it to the listeners of the pool. */
  readonly publish: Publish;
  /** Whether the pool has a listener: an event that comes with every lease is not even made without one. */
  readonly isHeard: IsHeard;

  constructor(log: PoolLog, publish: Publish, isHeard: IsHeard) {
    super();
    this.publish = (name, event) => {
      log.event(name, event);
      publish(name, event);
    };
    this.isHeard = isHeard;
    this.on("storageFailed", (error, part) => {
      if (part === undefined) log.write("error", error.message, { event: "storageFailed", reason: error.message });
      else log.storageFailed(part, error);
      this.publish("storageFailed", { error });
    });
    this.on("storageWorks", (part) => log.storageWorks(part));
  }
}

/** Makes what the parts of one pool share. */
export function createContext<Client>(
  options: ResolvedOptions<Client>,
  publish: Publish,
  isHeard: IsHeard,
): PoolContext<Client> {
  const clock = inBackground(options.clock);
  const log = new PoolLog(options.logger, clock);
  return { options, clock, time: new PoolTime(options.clock), log, events: new PoolEvents(log, publish, isHeard) };
}
