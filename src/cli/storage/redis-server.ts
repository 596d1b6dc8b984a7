import type { Redis as IoredisClient } from "ioredis";
import { redis } from "../../../adapters/storage/redis.js";
import { ANSWER_TIMEOUT_MS, answered } from "../answering.js";
import { CommandError } from "../command.js";
import { importFirst, type NamedStorage, printableUrl } from "../storage-url.js";

/** A client, whichever package it is of. */
interface Connected {
  readonly client: Parameters<typeof redis>[0];
  /** Sends one command. */
  send(...words: readonly string[]): Promise<unknown>;
  end(): Promise<void>;
}

/** The storage of a `redis://` or `rediss://` URL; `?prefix=` is the prefix of its keys. */
export async function findRedis(url: URL, signal: AbortSignal): Promise<NamedStorage> {
  const prefix = url.searchParams.get("prefix");
  url.searchParams.delete("prefix");
  const name = printableUrl(url);
  const [, connect] = await importFirst("A Redis storage", [
    ["redis", async () => connectNodeRedis(await import("redis"))],
    ["ioredis", async () => connectIoredis((await import("ioredis")).Redis)],
  ]);
  const { client, send, end } = await connect(url.href, signal).catch((error: unknown) => {
    signal.throwIfAborted();
    throw new CommandError(`${name} cannot be reached: ${reasonOf(error)}.`);
  });
  return {
    kind: "redis",
    name,
    storage: redis(client, prefix === null ? {} : { prefix }),
    ask: (text) => send(...text.split(" ")),
    end,
  };
}

type Connect = (url: string, signal: AbortSignal) => Promise<Connected>;

/** A server may take the connection and never greet: the timeouts of the clients end with the connection. */
async function connected(connecting: Promise<unknown>, signal: AbortSignal, end: () => void): Promise<void> {
  try {
    await answered(connecting, { signal, timeoutMs: ANSWER_TIMEOUT_MS });
  } catch (error) {
    try {
      end();
    } catch {
      // It has ended by itself.
    }
    throw error;
  }
}

function connectNodeRedis({ createClient }: typeof import("redis")): Connect {
  return async (url, signal) => {
    let isReady = false;
    const client = createClient({
      url,
      socket: {
        connectTimeout: ANSWER_TIMEOUT_MS,
        // Fails at once if the first connect fails; reconnects if the connection is lost later.
        reconnectStrategy: (retries, cause) => (isReady ? Math.min(retries * 100, 2_000) : cause),
      },
    });
    client.on("error", () => {});
    await connected(client.connect(), signal, () => client.destroy());
    isReady = true;
    return {
      client,
      send: (...words) => client.sendCommand([...words]),
      end: async () => client.destroy(),
    };
  };
}

function connectIoredis(Redis: typeof IoredisClient): Connect {
  return async (url, signal) => {
    let isReady = false;
    const client = new Redis(url, {
      lazyConnect: true,
      connectTimeout: ANSWER_TIMEOUT_MS,
      retryStrategy: (retries) => (isReady ? Math.min(retries * 100, 2_000) : null),
    });
    client.on("error", () => {});
    await connected(client.connect(), signal, () => client.disconnect());
    isReady = true;
    return {
      client,
      send: (command = "", ...rest) => client.call(command, ...rest),
      end: async () => client.disconnect(),
    };
  };
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message;
}
