import type { Redis as IoredisClient } from "ioredis";
import { redis } from "../../../adapters/storage/redis.js";
import { CommandError } from "../command.js";
import { importFirst, type NamedStorage, printableUrl } from "../storage-url.js";

const CONNECT_TIMEOUT_MS = 10_000;

/** A client, whichever package it is of. */
interface Connected {
  readonly client: Parameters<typeof redis>[0];
  /** Sends one command. */
  send(...words: readonly string[]): Promise<unknown>;
  end(): Promise<void>;
}

/** The storage of a `redis://` or `rediss://` URL; `?prefix=` is the prefix of its keys. */
export async function findRedis(url: URL): Promise<NamedStorage> {
  const prefix = url.searchParams.get("prefix");
  url.searchParams.delete("prefix");
  const name = printableUrl(url);
  const [, connect] = await importFirst("A Redis storage", [
    ["redis", async () => connectNodeRedis(await import("redis"))],
    ["ioredis", async () => connectIoredis((await import("ioredis")).Redis)],
  ]);
  const { client, send, end } = await connect(url.href).catch((error: unknown) => {
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

type Connect = (url: string) => Promise<Connected>;

function connectNodeRedis({ createClient }: typeof import("redis")): Connect {
  return async (url) => {
    let isReady = false;
    const client = createClient({
      url,
      socket: {
        connectTimeout: CONNECT_TIMEOUT_MS,
        // Fails at once if the first connect fails; reconnects if the connection is lost later.
        reconnectStrategy: (retries, cause) => (isReady ? Math.min(retries * 100, 2_000) : cause),
      },
    });
    client.on("error", () => {});
    await client.connect();
    isReady = true;
    return {
      client,
      send: (...words) => client.sendCommand([...words]),
      end: async () => client.destroy(),
    };
  };
}

function connectIoredis(Redis: typeof IoredisClient): Connect {
  return async (url) => {
    let isReady = false;
    const client = new Redis(url, {
      lazyConnect: true,
      connectTimeout: CONNECT_TIMEOUT_MS,
      retryStrategy: (retries) => (isReady ? Math.min(retries * 100, 2_000) : null),
    });
    client.on("error", () => {});
    await client.connect();
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
