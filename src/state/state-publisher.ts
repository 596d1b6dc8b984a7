import type { PoolContext } from "../pool-context.js";
import type { RecordWriter } from "../storage/record-writer.js";
import type { CooldownScope } from "./cooldowns.js";
import { markDirty, type PooledSession } from "./pooled-session.js";
import type { SessionRegistry } from "./session-registry.js";
import type { StartedCooldown } from "./shared-cooldowns.js";

/** A cooldown or freeze that ends later by less than this is the same one, by a different clock. */
export const SAME_END_TOLERANCE_MS: number = 1_000;

/** Makes changes of sessions durable and known: writes the record, and publishes the event after that. */
export class StatePublisher {
  readonly #context: PoolContext;
  readonly #registry: SessionRegistry;
  readonly #recordWriter: RecordWriter;

  constructor(context: PoolContext, registry: SessionRegistry, recordWriter: RecordWriter) {
    this.#context = context;
    this.#registry = registry;
    this.#recordWriter = recordWriter;
  }

  /** Publishes only once the record is written, so that what listeners know is still true after a crash. */
  saveThen(id: string, publish: () => void): void {
    const known = this.#registry.get(id);
    if (known !== undefined) markDirty(known, "verdict");
    void this.#recordWriter.save(id).then(publish);
  }

  /** Writes the record of each session, and publishes its event then. `seconds` as Telegram named them. */
  saveStarted(started: readonly StartedCooldown<PooledSession>[], seconds?: number, refusedMethod?: string): void {
    const now = this.#context.time.now();
    for (const { entry, scope, until, reason, sharedBy } of started) {
      const left = seconds ?? Math.ceil((until - now) / 1000);
      this.saveThen(entry.id, () => this.#publishCooled(entry.id, scope, until, left, reason, refusedMethod, sharedBy));
    }
  }

  /** Publishes what another process has written, or will write, except what differs by its clock only. */
  publishStarted(started: readonly StartedCooldown<PooledSession>[]): void {
    const now = this.#context.time.now();
    for (const { entry, scope, until, reason, formerUntil, sharedBy } of started) {
      if (until - Math.max(formerUntil, now) < SAME_END_TOLERANCE_MS) continue;
      this.#publishCooled(entry.id, scope, until, Math.ceil((until - now) / 1000), reason, undefined, sharedBy);
    }
  }

  #publishCooled(
    id: string,
    scope: CooldownScope,
    until: number,
    seconds: number,
    reason: string,
    refusedMethod?: string,
    sharedBy?: string,
  ): void {
    const refused = refusedMethod === undefined ? {} : { refusedMethod };
    const shared = sharedBy === undefined ? {} : { sharedBy };
    const event = { id, until: this.#context.time.toWall(until), seconds, reason, ...refused, ...shared };
    if (scope.kind === "session") this.#context.events.publish("cooled", event);
    else if (scope.kind === "method") this.#context.events.publish("cooled", { ...event, method: scope.method });
    else if (scope.kind === "peer") this.#context.events.publish("cooled", { ...event, peer: scope.peer });
  }
}
