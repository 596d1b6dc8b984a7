import type { CallLimit } from "../../src/options/budgets.js";
import { SlidingWindow } from "../../src/rate-limits/call-counters.js";
import type { RateBlock, RateLimits } from "../../src/rate-limits/rate-limits.js";
import type { OutgoingRequest } from "../../src/telegram/requests.js";
import { type FloodServer, fixedWindow, tokenBucket } from "./flood-servers.js";

/** What learning is to reach: the share of an oracle's calls after the first windows, and the floods among all calls. */
export interface LimitGoal {
  readonly share: number;
  readonly floods: number;
}

const GOAL: LimitGoal = { share: 0.9, floods: 0.01 };

/** A way to limit calls, and what is to be known of it to keep within it. */
export interface LimitShape {
  readonly name: string;
  readonly untilMs: number;
  /** The length of a window. */
  readonly perMs: number;
  readonly methods?: readonly string[];
  /** The least and the most milliseconds that a request or an answer takes. @default 1 to 4 */
  readonly wireMs?: readonly [number, number];
  /** Whether each method has a limit of its own. @default false: methods share one */
  readonly isByMethod?: boolean;
  readonly goal: LimitGoal;
  server(): FloodServer;
  /** The limit of a session at an instant. */
  limitAt(session: string, now: number, method: string): CallLimit;
}

const METHODS = ["contacts.ResolveUsername", "messages.SendMessage"];
const isPoor = (session: string): boolean => Number(session.slice(1)) % 2 === 1;
const half = ({ calls, perMs }: CallLimit): CallLimit => ({ calls: calls / 2, perMs });

export function limitShapes(limit: CallLimit = { calls: 8, perMs: 2_000 }): readonly LimitShape[] {
  const { calls, perMs } = limit;
  const seconds = perMs / 1_000;
  const always = { perMs, untilMs: 25 * perMs, limitAt: () => limit, goal: GOAL };
  const waitOf = (windows: number): number => Math.ceil(windows * seconds);
  const halves = (wait?: number): LimitShape => ({
    ...always,
    name: `half of the accounts with half of it${wait === undefined ? "" : ", wait 2 windows"}`,
    server: () => {
      const rich = fixedWindow(calls, perMs, 1, wait);
      const poor = fixedWindow(calls / 2, perMs, 1, wait);
      return (session, now) => (isPoor(session) ? poor : rich)(session, now);
    },
    limitAt: (session) => (isPoor(session) ? half(limit) : limit),
  });
  const halved = (wait?: number): LimitShape => ({
    ...always,
    name: `halved in mid-run${wait === undefined ? "" : ", wait 2 windows"}`,
    untilMs: 50 * perMs,
    server: () => {
      const before = fixedWindow(calls, perMs, 1, wait);
      const after = fixedWindow(calls / 2, perMs, 1, wait);
      return (session, now) => (now < 25 * perMs ? before : after)(session, now);
    },
    limitAt: (_, now) => (now < 25 * perMs ? limit : half(limit)),
  });
  return [
    {
      ...always,
      name: "wait = rest of the window",
      goal: { ...GOAL, share: 0.95 },
      server: () => fixedWindow(calls, perMs),
    },
    {
      ...always,
      name: "wait 2 windows",
      goal: { ...GOAL, share: 0.95 },
      server: () => fixedWindow(calls, perMs, 1, waitOf(2)),
    },
    {
      ...always,
      name: "wait 10 windows",
      untilMs: 100 * perMs,
      server: () => fixedWindow(calls, perMs, 1, waitOf(10)),
    },
    { ...always, name: "growing rest", goal: { ...GOAL, floods: 0.02 }, server: () => fixedWindow(calls, perMs, 2) },
    {
      ...always,
      name: "growing, from 2 windows",
      goal: { ...GOAL, floods: 0.02 },
      server: () => fixedWindow(calls, perMs, 2, waitOf(2)),
    },
    { ...always, name: "bucket", server: () => tokenBucket(calls, perMs) },
    { ...always, name: "bucket, wait 2 windows", server: () => tokenBucket(calls, perMs, waitOf(2)) },
    {
      ...always,
      name: "two methods share it",
      methods: METHODS,
      server: () => fixedWindow(calls, perMs),
    },
    {
      ...always,
      name: "two methods share it, wait 2 windows",
      methods: METHODS,
      server: () => fixedWindow(calls, perMs, 1, waitOf(2)),
    },
    halves(),
    halves(waitOf(2)),
    halved(),
    halved(waitOf(2)),
  ];
}

/** Two methods, 8 calls in 2 s and 12 in 3 s, with waits of 4 s: both compete for the sessions on a slow, uneven wire. */
export function slowWire(): LimitShape {
  const limits = new Map([
    [METHODS[0], { calls: 8, perMs: 2_000 }],
    [METHODS[1], { calls: 12, perMs: 3_000 }],
  ]);
  const limitOf = (method = ""): CallLimit => limits.get(method) ?? { calls: 1, perMs: 1 };
  return {
    name: "two methods on a slow wire, wait 2 windows",
    untilMs: 90_000,
    perMs: 2_000,
    methods: METHODS,
    goal: GOAL,
    wireMs: [5, 200],
    isByMethod: true,
    server: () => {
      const servers = new Map(Array.from(limits, ([of, { calls, perMs }]) => [of, fixedWindow(calls, perMs, 1, 4)]));
      return (session, now, method = "") => servers.get(method)?.(session, now);
    },
    limitAt: (_session, _now, method) => limitOf(method),
  };
}

/** Limits of someone who knows them, with a margin for the wire. */
export class KnownLimits implements RateLimits {
  readonly #shape: LimitShape;
  readonly #methods: readonly string[];
  readonly #marginMs: number;
  readonly #startAt: number;
  readonly #windows = new Map<string, SlidingWindow>();

  constructor(shape: LimitShape, startAt: number) {
    const { methods = METHODS.slice(0, 1), wireMs } = shape;
    this.#shape = shape;
    this.#methods = methods;
    this.#marginMs = wireMs === undefined ? 8 : wireMs[1] - wireMs[0];
    this.#startAt = startAt;
  }

  blocksOf(id: string, { method }: OutgoingRequest, now: number): readonly RateBlock[] {
    const { calls, perMs } = this.#shape.limitAt(id, now - this.#startAt, method);
    const until = this.#window(id, method).nextAllowedAt({ calls, perMs: perMs + this.#marginMs });
    const blocked = this.#shape.isByMethod === true ? [method] : this.#methods;
    return until > now ? blocked.map((one) => ({ method: one, peer: undefined, until })) : [];
  }

  onSent(id: string, request: OutgoingRequest, now: number): readonly RateBlock[] {
    this.#window(id, request.method).add(now, 60_000);
    return this.blocksOf(id, request, now);
  }

  #window(id: string, method: string): SlidingWindow {
    const key = this.#shape.isByMethod === true ? `${id} ${method}` : id;
    const window = this.#windows.get(key) ?? new SlidingWindow();
    this.#windows.set(key, window);
    return window;
  }
}
