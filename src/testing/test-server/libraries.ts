import { type LibraryName, loadLibrary, type TelegramLibrary, type TestServerClientOptions } from "./library.js";

/** The client libraries that a test server can speak with. */
export class Libraries {
  /** The one for clients that name no layer, and for what belongs to no client. */
  readonly main: TelegramLibrary;
  readonly #byLayer: ReadonlyMap<number, TelegramLibrary>;

  constructor(main: TelegramLibrary, others: readonly TelegramLibrary[]) {
    this.main = main;
    this.#byLayer = new Map([...others, main].map((library) => [library.layer, library]));
  }

  /** The one of a client that has named its layer: as Telegram does, it gets the objects of that layer. */
  ofLayer(layer: number): TelegramLibrary | undefined {
    return this.#byLayer.get(layer);
  }

  hasMethod(name: string): boolean {
    return [...this.#byLayer.values()].some((library) => library.hasMethod(name));
  }
}

const NAMES: readonly LibraryName[] = ["telegram", "teleproto"];

/**
 * Loads the library of that name, or every one that is installed, `telegram` first. Rejects when there is none: a data
 * center has no classes of its own.
 */
export async function loadLibraries(name: LibraryName | undefined): Promise<Libraries> {
  if (name !== undefined) return new Libraries(await loadLibrary(name), []);
  const outcomes = await Promise.allSettled(NAMES.map(loadLibrary));
  const [main, ...others] = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
  if (main === undefined) {
    const reasons = outcomes.map((outcome) => (outcome.status === "rejected" ? outcome.reason : undefined));
    throw new Error(`A test server needs a client library: ${NAMES.join(" or ")}`, { cause: reasons[0] });
  }
  return new Libraries(main, others);
}

/**
 * The client options that reach a test server at `host:port`, in this process or another.
 *
 * @example
 * new TelegramClient(session, 1, "x", { ...(await testServerClientOptions({ host, port })), connectionRetries: 1 });
 */
export async function testServerClientOptions(address: {
  readonly host: string;
  readonly port: number;
  /** Whose socket class it is to be. @default the one that is installed, `telegram` first */
  readonly library?: LibraryName | undefined;
}): Promise<TestServerClientOptions> {
  const { main } = await loadLibraries(address.library);
  return main.clientOptions(address.host, address.port);
}
