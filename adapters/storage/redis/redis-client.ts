import type { Subscribe, WatchSignals } from "../kept-watch.js";
import { NOOP_SCRIPT } from "../redis.js";

/** A function with any parameters, so that the differing types of the clients fit without a cast. */
type AnyFunction = (...parameters: never[]) => unknown;

/**
 * A connected client for Redis or Valkey: `redis` (node-redis), `ioredis` or `iovalkey`, or anything whose `eval` is
 * called like one of theirs.
 */
export interface RedisClient {
  readonly eval: AnyFunction;
  /** Creates a second connection, which receives the writes of other processes. */
  readonly duplicate?: AnyFunction;
}

/** Runs a Lua script, its keys and its other parameters apart. */
export type Evaluate = (script: string, keys: readonly string[], parameters: readonly string[]) => Promise<unknown>;

/** How the parameters of `eval` are laid out. */
type Layout = (keys: readonly string[], parameters: readonly string[]) => readonly unknown[];

const asNodeRedis: Layout = (keys, parameters) => [{ keys, arguments: parameters }];
const asIoredis: Layout = (keys, parameters) => [keys.length, ...keys, ...parameters];

/** Returns a function for the client's `eval`. For other clients, a no-op script determines whose signature it has. */
export async function createEvaluator(client: RedisClient): Promise<Evaluate> {
  const inLayout =
    (layout: Layout): Evaluate =>
    async (script, keys, parameters) =>
      await Reflect.apply(client.eval, client, [script, ...layout(keys, parameters)]);
  const [nodeRedis, ioredis] = [inLayout(asNodeRedis), inLayout(asIoredis)];
  if ("defineCommand" in client) return ioredis;
  if ("connect" in client) return nodeRedis;
  try {
    await nodeRedis(NOOP_SCRIPT, [], []);
    return nodeRedis;
  } catch {
    await ioredis(NOOP_SCRIPT, [], []);
    return ioredis;
  }
}

/** The pages of a command of the SCAN family. `run` sends it with a cursor; an element may be on several pages. */
export async function* pagesOf(run: (cursor: string) => Promise<unknown>): AsyncGenerator<readonly string[]> {
  let cursor = "0";
  do {
    const [next, elements] = (await run(cursor)) as [unknown, readonly unknown[]];
    yield elements.map(String);
    cursor = String(next);
  } while (cursor !== "0");
}

/** The methods used of a duplicated node-redis client. */
interface NodeRedisSubscriber {
  readonly isOpen?: boolean;
  on(event: "error" | "ready" | "end", listener: (error?: unknown) => void): unknown;
  /** Missing on a cluster. */
  unref?(): void;
  connect(): Promise<unknown>;
  subscribe(channel: string, listener: (message: string) => void): Promise<unknown>;
  destroy(): void;
}

/** The methods used of a duplicated ioredis client. */
interface IoredisSubscriber {
  readonly status?: string;
  readonly stream?: { unref(): unknown };
  on(event: "error" | "ready" | "end" | "connect", listener: (error?: unknown) => void): unknown;
  on(event: "message", listener: (channel: string, message: string) => void): unknown;
  connect(): Promise<unknown>;
  subscribe(channel: string): Promise<unknown>;
  disconnect(): void;
}

/**
 * Listens to a channel on a connection of its own, which does not keep the process alive. Messages published while it is
 * disconnected are lost.
 */
export function subscription(client: RedisClient, channel: string, onMessage: (message: string) => void): Subscribe {
  return (signals) => {
    const subscriber: unknown = client.duplicate && Reflect.apply(client.duplicate, client, []);
    return "defineCommand" in client
      ? subscribeIoredis(subscriber as IoredisSubscriber, channel, onMessage, signals)
      : subscribeNodeRedis(subscriber as NodeRedisSubscriber, channel, onMessage, signals);
  };
}

/** Subscribes whenever the connection is ready: without its offline queue ioredis refuses to do so before. */
function subscribeIoredis(
  subscriber: IoredisSubscriber,
  channel: string,
  onMessage: (message: string) => void,
  { works, failing, lost }: WatchSignals,
): () => void {
  subscriber.on("error", failing);
  subscriber.on("connect", () => subscriber.stream?.unref());
  subscriber.on("ready", () => void subscriber.subscribe(channel).then(works, lost));
  subscriber.on("end", () => lost(new Error("The connection has ended.")));
  subscriber.on("message", (_, message) => onMessage(message));
  if (subscriber.status === "wait") subscriber.connect().catch(() => {}); // lazyConnect; its failure is an "error", too
  return () => subscriber.disconnect();
}

function subscribeNodeRedis(
  subscriber: NodeRedisSubscriber,
  channel: string,
  onMessage: (message: string) => void,
  { works, failing, lost }: WatchSignals,
): () => void {
  let isSubscribed = false;
  subscriber.on("error", (error) => (subscriber.isOpen === false ? lost(error) : failing(error)));
  subscriber.on("ready", () => isSubscribed && works()); // node-redis has resubscribed
  subscriber.on("end", () => lost(new Error("The connection has ended.")));
  subscriber.unref?.();
  const subscribe = async (): Promise<void> => {
    await subscriber.connect();
    await subscriber.subscribe(channel, onMessage);
    isSubscribed = true;
    works();
  };
  subscribe().catch(lost);
  return () => subscriber.destroy();
}
