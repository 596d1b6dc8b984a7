import type { ClientAdapter, ClientHandle, CreateClientOptions } from "../../../src/connections/client-adapter.js";
import { OptionsError } from "../../../src/errors.js";
import { PROXY_RULES } from "../../../src/options/proxy.js";
import { describeType, unknownOption } from "../../../src/options/validators.js";
import { type ClientClasses, createClientClasses } from "./client.js";
import { MtprotoHandle } from "./handle.js";
import type { ClientParams, Library } from "./library.js";
import { addServerKey, checkServer, type PrivateServer } from "./private-server.js";
import { checkRoute, configuredProxy } from "./route.js";
import { createRequest, MtprotoSignIn } from "./sign-in.js";

/** Options of a client adapter, with the library's own client and client options. */
export interface AdapterOptions<Client, Params extends object = object> {
  /** From my.telegram.org. A session's profile may name its own. */
  readonly apiId: number;
  /** From my.telegram.org. A session's profile may name its own. */
  readonly apiHash: string;
  /**
   * The library's own `TelegramClientParams`. The pool sets retries, reconnects, the flood threshold and, unless
   * `baseLogger` is given, silence. @default {}
   */
  readonly clientOptions?: Params | undefined;
  /** Called once for each client when it has first connected: the place for lasting event handlers. */
  readonly onConnect?: ((client: Client, id: string) => void | Promise<void>) | undefined;
  /**
   * Whether Telegram is to send the account's updates. Without them event handlers receive nothing, and a busy account
   * costs no traffic beyond its calls. A session with `keepConnected` in its profile always gets them: its purpose is to
   * listen. @default false
   */
  readonly updates?: boolean | undefined;
  /**
   * A server of your own to connect to instead of Telegram, such as the `server` of a test server. Its RSA key is added
   * to the library's table of keys, by its fingerprint: the library has one for the whole process, so its other clients
   * trust that key, too. @default none: Telegram
   */
  readonly server?: PrivateServer | undefined;
}

const KNOWN: ReadonlySet<string> = new Set(["apiId", "apiHash", "clientOptions", "onConnect", "updates", "server"]);

/**
 * The adapter for one library. `name`: of the adapter's function; `title`: of the library. Throws
 * `OptionsError` when an option is missing or wrong.
 */
export function mtprotoAdapter<Client extends object>(
  name: string,
  title: string,
  options: AdapterOptions<Client>,
  load: () => Promise<Library>,
): ClientAdapter<Client> {
  check(name, title, options);
  let classes: ClientClasses | undefined;
  const params = (options.clientOptions ?? {}) as ClientParams;
  const proxy = configuredProxy(params);
  return {
    ...(proxy === undefined ? {} : { proxy }),
    open: async () => {
      if (classes !== undefined) return;
      const library = await load();
      checkRoute(library, `${name}: clientOptions.proxy`, params, proxy);
      if (options.server !== undefined) await addServerKey(library, options.server);
      classes = { ...createClientClasses(library), server: options.server };
    },
    checkProfile: (call, profile) => {
      if (classes === undefined) throw new OptionsError(`${name}: open() has to come before checkProfile().`);
      checkRoute(classes.library, `${call}: profile.proxy`, params, profile.proxy);
    },
    create: (request: CreateClientOptions): ClientHandle<Client> => {
      if (classes === undefined) throw new OptionsError(`${name}: open() has to come before create().`);
      const { apiId, apiHash, updates = false } = options;
      // The handle knows the members that both libraries have; the user knows the library's own class.
      const onConnect = options.onConnect as ((client: unknown, id: string) => void | Promise<void>) | undefined;
      const handle = new MtprotoHandle(classes, { apiId, apiHash, clientOptions: params, onConnect, updates }, request);
      return handle as unknown as ClientHandle<Client>;
    },
    ownUserRequest: () => {
      if (classes === undefined) throw new OptionsError(`${name}: open() has to come before ownUserRequest().`);
      const { Api } = classes.library;
      return new Api.users.GetUsers({ id: [new Api.InputUserSelf()] });
    },
    createSignIn: (request) => {
      if (classes === undefined) throw new OptionsError(`${name}: open() has to come before createSignIn().`);
      const { apiId, apiHash } = options;
      return new MtprotoSignIn(classes, { apiId, apiHash, clientOptions: params }, request);
    },
    createRequest: (method, fields) => {
      if (classes === undefined) throw new OptionsError(`${name}: open() has to come before createRequest().`);
      return createRequest(classes.library, method, fields);
    },
    invoke: (client, request) => (client as unknown as { invoke(of: unknown): Promise<unknown> }).invoke(request),
  };
}

function check(name: string, title: string, options: AdapterOptions<never, { readonly proxy?: unknown }>): void {
  if (typeof options !== "object" || options === null) {
    throw new OptionsError(`${name}: expected { apiId, apiHash }, both from my.telegram.org.`);
  }
  for (const key of Object.keys(options)) {
    if (!KNOWN.has(key)) throw unknownOption(name, key, [...KNOWN]);
  }
  const { apiId, apiHash, clientOptions, onConnect, updates } = options;
  if (!Number.isInteger(apiId) || apiId <= 0) {
    throw new OptionsError(
      `${name}: apiId must be a whole number, more than 0, from my.telegram.org; got ${describeType(apiId)}.${typeof apiId === "string" ? " Convert it: Number(…)." : ""}`,
    );
  }
  if (typeof apiHash !== "string" || apiHash === "") {
    throw new OptionsError(
      `${name}: apiHash must be a non-empty string from my.telegram.org; got ${describeType(apiHash)}.`,
    );
  }
  if (clientOptions !== undefined && (typeof clientOptions !== "object" || clientOptions === null)) {
    throw new OptionsError(
      `${name}: clientOptions must be an object of ${title}'s TelegramClientParams; got ${describeType(clientOptions)}.`,
    );
  }
  checkProxy(name, clientOptions?.proxy);
  if (onConnect !== undefined && typeof onConnect !== "function") {
    throw new OptionsError(
      `${name}: onConnect must be a function of the client and the session's id; got ${describeType(onConnect)}.`,
    );
  }
  if (options.server !== undefined) checkServer(name, options.server);
  if (updates !== undefined && typeof updates !== "boolean") {
    throw new OptionsError(`${name}: updates must be true or false; got ${describeType(updates)}.`);
  }
}

/** Fields that only the libraries know are not checked. */
function checkProxy(name: string, proxy: unknown): void {
  if (proxy === undefined || proxy === null) return;
  if (typeof proxy !== "object") throw new OptionsError(`${name}: clientOptions.proxy must be an object.`);
  for (const [field, rule] of Object.entries(PROXY_RULES)) {
    const value: unknown = Reflect.get(proxy, field);
    const isNeeded = field === "ip" || field === "port" || field === ("MTProxy" in proxy ? "secret" : "socksType");
    if ((value === undefined && !isNeeded) || rule.accepts(value)) continue;
    throw new OptionsError(
      `${name}: clientOptions.proxy.${field} must be ${rule.expected}; got ${describeType(value)}.`,
    );
  }
}
