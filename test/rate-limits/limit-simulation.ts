import type { RateBlock, RateLimits } from "../../src/rate-limits/rate-limits.js";
import type { OutgoingRequest } from "../../src/telegram/requests.js";
import { seededRandom } from "../fakes/seeded-random.js";
import type { VirtualClock } from "../fakes/virtual-clock.js";
import type { FloodServer } from "./flood-servers.js";

/** What a simulated pool sent, by time. */
export interface SimulationResult {
  /** Instants of successful calls, in milliseconds since the start. */
  readonly sent: readonly number[];
  readonly floods: readonly number[];
}

export interface SimulationOptions {
  readonly limits: RateLimits;
  readonly clock: VirtualClock;
  readonly server: FloodServer;
  readonly seed: number;
  readonly untilMs: number;
  readonly sessions?: number;
  readonly workers?: number;
  readonly methods?: readonly string[];
  /** The least and the most milliseconds that a request or an answer takes. @default 1 to 4 */
  readonly wireMs?: readonly [number, number];
}

interface Session {
  readonly id: string;
  isLeased: boolean;
  usedAt: number;
  /** By method: the end of a flood wait or of an exhausted limit. */
  readonly blockedUntil: Map<string, number>;
  readonly floodedUntil: Map<string, number>;
}

/**
 * A pool at full speed in simulated time: workers take the least recently used session that is not blocked for their
 * method, one call each time.
 */
export class LimitSimulation {
  readonly #options: SimulationOptions;
  readonly #sessions: readonly Session[];
  readonly #methods: readonly string[];
  readonly #random: () => number;
  readonly #events: { readonly at: number; readonly run: () => void }[] = [];
  readonly #sent: number[] = [];
  readonly #floods: number[] = [];
  readonly #idle: string[] = [];
  #now = 0;
  #uses = 0;
  #wakeAt = Number.POSITIVE_INFINITY;

  constructor(options: SimulationOptions) {
    const { sessions = 12, workers = 36, methods = ["contacts.ResolveUsername"], seed } = options;
    this.#options = options;
    this.#methods = methods;
    this.#random = seededRandom(seed);
    this.#sessions = Array.from({ length: sessions }, (_, index) => ({
      id: `s${index}`,
      isLeased: false,
      usedAt: 0,
      blockedUntil: new Map(),
      floodedUntil: new Map(),
    }));
    for (let worker = 0; worker < workers; worker++) this.#idle.push(this.#nextMethod());
  }

  run(): SimulationResult {
    this.#serve();
    for (;;) {
      const event = this.#events.shift();
      if (event === undefined || event.at > this.#options.untilMs) return { sent: this.#sent, floods: this.#floods };
      this.#options.clock.skip(event.at - this.#now);
      this.#now = event.at;
      event.run();
    }
  }

  #serve(): void {
    const blocked = new Set<string>();
    for (let worker = 0; worker < this.#idle.length && blocked.size < this.#methods.length; ) {
      const method = this.#idle[worker] ?? "";
      const session = blocked.has(method) ? undefined : this.#take(method);
      if (session === undefined) {
        blocked.add(method);
        worker++;
      } else if (this.#send(session, method)) this.#idle.splice(worker, 1);
    }
    this.#wake();
  }

  #take(method: string): Session | undefined {
    let next: Session | undefined;
    for (const session of this.#sessions) {
      if (session.isLeased || (session.blockedUntil.get(method) ?? 0) > this.#now) continue;
      if (next === undefined || session.usedAt < next.usedAt) next = session;
    }
    return next;
  }

  /** Returns whether the limits admit the call. */
  #send(session: Session, method: string): boolean {
    const { limits, server } = this.#options;
    const { id } = session;
    const request = { method } as OutgoingRequest;
    const now = this.#poolNow();
    const blocks = limits.blocksOf(id, request, now);
    this.#block(session, blocks);
    if (blocks.length > 0) return false;
    this.#block(session, limits.onSent(id, request, now));
    session.isLeased = true;
    session.usedAt = ++this.#uses;
    const arrival = this.#now + this.#transit();
    this.#at(arrival, () => {
      const wait = server(id, this.#now, method);
      this.#at(this.#now + this.#transit(), () => this.#answer(session, request, wait));
    });
    return true;
  }

  #answer(session: Session, request: OutgoingRequest, seconds: number | undefined): void {
    const { limits } = this.#options;
    limits.onCompleted?.(session.id, request, seconds === undefined);
    if (seconds === undefined) this.#sent.push(this.#now);
    else {
      this.#floods.push(this.#now);
      const verdict = { kind: "cooldown", scope: "session", code: "FLOOD_WAIT", seconds, isGuess: false } as const;
      limits.onRejected?.(session.id, request, verdict as never);
      const until = this.#now + seconds * 1_000;
      session.floodedUntil.set(request.method, until);
      if (until > (session.blockedUntil.get(request.method) ?? 0)) session.blockedUntil.set(request.method, until);
    }
    session.isLeased = false;
    this.#idle.push(this.#nextMethod());
    this.#serve();
  }

  #block(session: Session, blocks: readonly RateBlock[]): void {
    for (const { method, until } of blocks) {
      const at = exact(until - this.#poolNow() + this.#now);
      if (at > (session.blockedUntil.get(method) ?? 0)) session.blockedUntil.set(method, at);
    }
  }

  /** Limits have become faster: ends the blocks of sessions that are within them. */
  relax(method: string): void {
    const { limits } = this.#options;
    for (const session of this.#sessions) {
      const { id, floodedUntil } = session;
      if (session.isLeased || (session.blockedUntil.get(method) ?? 0) <= this.#now) continue;
      session.blockedUntil.set(method, floodedUntil.get(method) ?? 0);
      this.#block(session, limits.blocksOf(id, { method } as OutgoingRequest, this.#poolNow()));
    }
    this.#at(this.#now, () => this.#serve());
  }

  #wake(): void {
    if (this.#idle.length === 0) return;
    let next = Number.POSITIVE_INFINITY;
    for (const { blockedUntil } of this.#sessions)
      for (const until of blockedUntil.values()) if (until > this.#now && until < next) next = until;
    if (next >= this.#wakeAt && this.#wakeAt > this.#now) return;
    if (next === Number.POSITIVE_INFINITY) return;
    this.#wakeAt = next;
    this.#at(next, () => {
      this.#wakeAt = Number.POSITIVE_INFINITY;
      this.#serve();
    });
  }

  #nextMethod(): string {
    return this.#methods[Math.floor(this.#random() * this.#methods.length)] ?? "";
  }

  #transit(): number {
    const [least, most] = this.#options.wireMs ?? [1, 4];
    return least + this.#random() * (most - least);
  }

  #poolNow(): number {
    return this.#options.clock.now();
  }

  #at(instant: number, run: () => void): void {
    const at = exact(instant);
    let place = this.#events.length;
    while (place > 0 && (this.#events[place - 1]?.at ?? 0) > at) place--;
    this.#events.splice(place, 0, { at, run });
  }
}

/** The next sixteenth of a millisecond: sums of such instants are not rounded, so that a wait that is over is over. */
function exact(instant: number): number {
  return Math.ceil(instant * 16) / 16;
}
