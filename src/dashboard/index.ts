import type { IncomingMessage, ServerResponse } from "node:http";
import { OptionsError } from "../errors.js";
import { assertKnownOptions, hasMethods, isObject, isPlainObject } from "../options/validators.js";
import type { Authorize, AuthorizeAnswer } from "./access.js";
import { DashboardServer } from "./dashboard-server.js";
import { type ObservedPool, PoolSource } from "./pool-source.js";

export type { AuthorizeAnswer } from "./access.js";
export type { ObservedPool } from "./pool-source.js";

/** The pools of a dashboard: one, or several in a list or by name. Those of a list are named `"1"`, `"2"`, and so on. */
export type DashboardPools = ObservedPool | readonly ObservedPool[] | Readonly<Record<string, ObservedPool>>;

/** Options of {@link dashboard}. */
export interface DashboardOptions {
  /**
   * Decides for each request, the page's files included, what it may do: nothing (`false`), look (`"view"`), or also
   * disable, enable and remove sessions (`"manage"`). One that throws, rejects or takes longer than
   * 10 seconds grants nothing. @default this machine may
   * look: loopback addresses, asked for as `localhost` or by address
   */
  authorize?(request: IncomingMessage): AuthorizeAnswer | Promise<AuthorizeAnswer>;
  /**
   * Path of the dashboard, where the server passes it on: `"/pool"`. Not needed for `app.use("/pool", …)` of Express, which
   * takes it off. @default ""
   */
  readonly basePath?: string | undefined;
}

/** A request listener for `node:http`, Express and Fastify (with `reply.hijack()`). */
export interface Dashboard extends Disposable {
  (request: IncomingMessage, response: ServerResponse): void;
  /**
   * Ends the connections of all pages, for servers that end before their pools do: `server.close()` waits for them. The end
   * of the pools does the same.
   */
  close(): void;
}

const OPTION_NAMES: readonly string[] = ["authorize", "basePath"];

/**
 * A page that shows how the pools of this process stand: who can work now, who is free next, which method is flooded, who
 * died and why, which process holds what, and what of a `map` is uncertain. Counts what it shows from this call on; with
 * nobody looking that is all it does.
 *
 * @throws `OptionsError` for a wrong option.
 *
 * @example
 * ```ts
 * http.createServer(dashboard(pool)).listen(8_080, "127.0.0.1");
 * ```
 */
export function dashboard(pools: DashboardPools, options: DashboardOptions = {}): Dashboard {
  const { authorize, basePath } = checkOptions(options);
  const named = namedPools(pools);
  const sources = named.map(([name, pool]) => new PoolSource(name, pool));
  const server = new DashboardServer(sources, { authorize, basePath, isStorage: false });
  return toListener(server);
}

/** The function that answers the requests of a server. */
export function toListener(server: DashboardServer): Dashboard {
  const listener = (request: IncomingMessage, response: ServerResponse): void => void server.handle(request, response);
  const close = (): void => server.close();
  return Object.assign(listener, { close, [Symbol.dispose]: close });
}

function checkOptions(options: object): { authorize: Authorize | undefined; basePath: string } {
  if (!isPlainObject(options)) throw new OptionsError("dashboard expects its options as an object.");
  assertKnownOptions("dashboard", options, OPTION_NAMES);
  const { authorize, basePath = "" }: DashboardOptions = options;
  if (authorize !== undefined && typeof authorize !== "function") {
    throw new OptionsError("dashboard: authorize expects a function of the request.");
  }
  if (typeof basePath !== "string" || !/^(\/[^?#]*)?$/.test(basePath)) {
    throw new OptionsError('dashboard: basePath expects a path that begins with "/", such as "/pool".');
  }
  return { authorize, basePath: basePath.replace(/\/+$/, "") };
}

function namedPools(pools: DashboardPools): readonly (readonly [name: string, pool: ObservedPool])[] {
  const expected = "dashboard expects a SessionPool, or several in an array or by name.";
  if (isPool(pools)) return [["pool", pools]];
  if (!isObject(pools)) throw new OptionsError(expected);
  const named = Array.isArray(pools)
    ? pools.map((pool: unknown, index) => [`${index + 1}`, pool] as const)
    : Object.entries<unknown>(pools);
  const known = named.flatMap(([name, pool]) => (isPool(pool) ? [[name, pool] as const] : []));
  if (known.length === 0 || known.length < named.length) throw new OptionsError(expected);
  return known;
}

function isPool(value: unknown): value is ObservedPool {
  return hasMethods(value, ["observe", "disable", "enable", "remove"]);
}
