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

/** What a client needs to reach a test server: spread it into `TelegramClientParams`. */
export interface TestServerClientOptions {
  /**
   * A socket class that dials the test server whatever address it is asked for. The class is the chosen library's own;
   * the other library takes it, too. Typed so that it fits the options of both: either may be missing.
   */
  readonly networkSocket: never;
}

/** A client library, by its name on npm. */
export type LibraryName = "telegram" | "teleproto";

/** The client library whose classes the test server speaks with. */
export interface TelegramLibrary {
  /** Which objects and methods it knows. */
  readonly layer: number;
  readonly tl: TlFactory;
  /** Reads one object. Throws when its constructor is not in the library's layer. */
  read(bytes: Buffer): TlObject;
  /** The full name of the method with that constructor number. */
  methodOf(constructorId: number): string | undefined;
  /** Whether there is a method of that full name. */
  hasMethod(name: string): boolean;
  clientOptions(host: string, port: number): TestServerClientOptions;
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

/** What the socket classes of both libraries have in common. */
type SocketClass = new (...values: never[]) => { connect(port: number, host: string): Promise<unknown> };

function redirect(Base: SocketClass, host: string, port: number): SocketClass {
  return class TestServerSocket extends Base {
    override connect(): Promise<unknown> {
      return super.connect(port, host);
    }
  };
}

/** The parts of a library that a test server speaks with. */
interface Parts {
  readonly Api: object;
  readonly layer: number;
  readonly BinaryReader: unknown;
  readonly PromisedNetSockets: unknown;
}

const INSTALLED_AS: Readonly<Record<LibraryName, string>> = {
  telegram: "telegram@^2.26.22",
  teleproto: "teleproto@^1.223.0",
};

/** `await import()` in a `try` block: so bundlers do not fail where only the other library is installed. */
const LOADERS: Readonly<Record<LibraryName, () => Promise<Parts>>> = {
  telegram: async () => {
    try {
      const { Api } = await import("telegram/tl/index.js");
      const { LAYER } = await import("telegram/tl/AllTLObjects.js");
      const extensions = await import("telegram/extensions/index.js");
      return { Api, layer: LAYER, ...extensions };
    } catch (error) {
      throw unavailable("telegram", error);
    }
  },
  teleproto: async () => {
    try {
      const { Api, LAYER } = await import("teleproto/tl/index.js");
      const extensions = await import("teleproto/extensions/index.js");
      return { Api, layer: LAYER, ...extensions };
    } catch (error) {
      throw unavailable("teleproto", error);
    }
  },
};

function unavailable(name: LibraryName, cause: unknown): Error {
  return new Error(`The package "${name}" does not load; is it installed? npm install ${INSTALLED_AS[name]}`, {
    cause,
  });
}

function makeLibrary({ Api, layer, BinaryReader, PromisedNetSockets }: Parts): TelegramLibrary {
  const api = Api as Readonly<Record<string, unknown>>;
  const classOf = classFinder(api);
  const methods = methodNames(api);
  const names = new Set(methods.values());
  const Reader = BinaryReader as ObjectReaderClass;
  const Socket = PromisedNetSockets as SocketClass;
  return {
    layer,
    tl: (name, fields = {}) => new (classOf(name))(fields),
    read: (bytes) => {
      const value = new Reader(bytes).tgReadObject();
      if (!isTlObject(value)) throw new TypeError("Expected an object");
      return value;
    },
    hasMethod: (name) => names.has(name),
    methodOf: (constructorId) => methods.get(constructorId),
    clientOptions: (host, port) => ({ networkSocket: redirect(Socket, host, port) as never }),
  };
}

const loaded = new Map<LibraryName, Promise<TelegramLibrary>>();

/** Loads a client library. Both are optional peers: nothing of them is imported before. */
export function loadLibrary(name: LibraryName): Promise<TelegramLibrary> {
  const known = loaded.get(name) ?? LOADERS[name]().then(makeLibrary);
  loaded.set(name, known);
  return known;
}
