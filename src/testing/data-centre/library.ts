import type { PromisedNetSockets } from "telegram/extensions/index.js";

/** What can be sent: any object of the client library's `Api`. */
export interface TlWritable {
  /** Its full name: `"messages.SendMessage"`. */
  readonly className: string;
  getBytes(): Buffer;
}

/** An object of Telegram's type language as it was read, or made by name: its fields are unknown. */
export interface TlObject extends TlWritable {
  readonly [field: string]: unknown;
}

/** Makes an object of Telegram's type language by name: `tl("updates.State", { pts: 1, … })`. Longs may be bigints. */
export type TlFactory = (name: string, fields?: Readonly<Record<string, unknown>>) => TlObject;

/** What a GramJS client needs to reach a data centre: spread it into `TelegramClientParams`. */
export interface DataCentreClientOptions {
  /** Dials the data centre whatever address it is asked for. */
  readonly networkSocket: typeof PromisedNetSockets;
}

/** The client library whose classes the data centre speaks with. */
export interface TelegramLibrary {
  readonly tl: TlFactory;
  /** Reads one object. Throws when its constructor is not in the library's layer. */
  read(bytes: Buffer): TlObject;
  /** The full name of the method with that constructor number. */
  methodOf(constructorId: number): string | undefined;
  /** Whether there is a method of that full name. */
  hasMethod(name: string): boolean;
  clientOptions(host: string, port: number): DataCentreClientOptions;
}

type TlClass = {
  readonly CONSTRUCTOR_ID: number;
  readonly className: string;
  readonly classType: string;
  new (fields: object): TlObject;
};
type ObjectReader = { tgReadObject(): unknown };
type ObjectReaderClass = new (bytes: Buffer) => ObjectReader;

function isTlObject(value: unknown): value is TlObject {
  return typeof value === "object" && value !== null && "className" in value && "getBytes" in value;
}

function classFinder(api: Readonly<Record<string, unknown>>): (name: string) => TlClass {
  const known = new Map<string, TlClass>();
  return (name) => {
    const seen = known.get(name);
    if (seen !== undefined) return seen;
    const found = name.split(".").reduce<unknown>((scope, part) => (scope as Record<string, unknown>)?.[part], api);
    if (typeof found !== "function") throw new TypeError(`The library has no class ${name}`);
    known.set(name, found as unknown as TlClass);
    return found as unknown as TlClass;
  };
}

function isClass(value: unknown): value is TlClass {
  return typeof value === "function" && "CONSTRUCTOR_ID" in value;
}

function methodNames(api: Readonly<Record<string, unknown>>): ReadonlyMap<number, string> {
  const classes = Object.values(api).flatMap((entry) => (isClass(entry) ? [entry] : Object.values(entry as object)));
  const requests = classes.filter(isClass).filter((entry) => entry.classType === "request");
  return new Map(requests.map((entry) => [entry.CONSTRUCTOR_ID, entry.className]));
}

function redirect(base: typeof PromisedNetSockets, host: string, port: number): typeof PromisedNetSockets {
  return class DataCentreSocket extends base {
    override connect(_port: number, _address: string): Promise<unknown> {
      return super.connect(port, host);
    }
  };
}

/** Loads GramJS. It is an optional peer: nothing of it is imported before. */
export async function loadLibrary(): Promise<TelegramLibrary> {
  const [{ Api }, extensions] = await Promise.all([
    import("telegram/tl/index.js"),
    import("telegram/extensions/index.js"),
  ]);
  const api = Api as unknown as Readonly<Record<string, unknown>>;
  const classOf = classFinder(api);
  const methods = methodNames(api);
  const names = new Set(methods.values());
  const Reader = extensions.BinaryReader as unknown as ObjectReaderClass;
  return {
    tl: (name, fields = {}) => new (classOf(name))(fields),
    read: (bytes) => {
      const value = new Reader(bytes).tgReadObject();
      if (!isTlObject(value)) throw new TypeError("Expected an object");
      return value;
    },
    hasMethod: (name) => names.has(name),
    methodOf: (constructorId) => methods.get(constructorId),
    clientOptions: (host, port) => ({ networkSocket: redirect(extensions.PromisedNetSockets, host, port) }),
  };
}

/**
 * The client options that reach a data centre at `host:port`, in this process or another.
 *
 * @example
 * new TelegramClient(session, 1, "x", { ...(await dataCentreClientOptions({ host, port })), connectionRetries: 1 });
 */
export async function dataCentreClientOptions(address: {
  readonly host: string;
  readonly port: number;
}): Promise<DataCentreClientOptions> {
  return (await loadLibrary()).clientOptions(address.host, address.port);
}
