import { inspect } from "node:util";
import type { SessionStorage } from "../../storage/storage.js";

/** The two matchers the contract needs of the runner's `expect`. */
export interface ContractMatchers {
  toBe(expected: unknown): unknown;
  toEqual(expected: unknown): unknown;
}

/** What `testSessionStorage` needs: a test runner, and the storage to be tested. */
export interface StorageContractOptions {
  /** Defines one test: vitest's or jest's `test`, or that of `node:test`. */
  readonly test: (name: string, run: () => Promise<void>) => unknown;
  /** Compares: vitest's or jest's `expect`, or any function that returns `toBe` and `toEqual`. */
  readonly expect: (value: unknown) => ContractMatchers;
  /** Makes a new, EMPTY storage at each call. The contract opens and closes it. */
  readonly open: () => SessionStorage | Promise<SessionStorage>;
  /** Makes a second, not yet opened handle on what `storage` holds; `storage` may be open or closed. */
  readonly reopen?: (storage: SessionStorage) => SessionStorage | Promise<SessionStorage>;
  /** Damages what the closed `storage` holds, so that no handle can read all of it any more. Needs `reopen`. */
  readonly corrupt?: (storage: SessionStorage) => void | Promise<void>;
  /** Damages the entry of this one id in the open `storage`: cuts its text, or loses what was in it. */
  readonly damage?: (storage: SessionStorage, id: string) => void | Promise<void>;
  /** Cuts the connection by which the open `storage` watches, as a restart of its server would. Needs `reopen`. */
  readonly interrupt?: (storage: SessionStorage) => void | Promise<void>;
  /** Stands before the name of every test. @default "storage" */
  readonly name?: string;
  /** How many records the test of long lists writes. @default 1025 */
  readonly rows?: number;
}

/** Tests by name. */
export type ContractCases = Readonly<Record<string, (contract: Contract) => Promise<void>>>;

/** A text that stands for a secret: no error may repeat it. */
export const CANARY = "canary-1BVtsOKABu";

/** What one test of the contract works with. */
export class Contract {
  readonly options: StorageContractOptions;
  readonly expect: (value: unknown) => ContractMatchers;
  readonly #handles: SessionStorage[] = [];

  constructor(options: StorageContractOptions) {
    this.options = options;
    this.expect = options.expect;
  }

  /** An empty storage, open. */
  async open(): Promise<SessionStorage> {
    const storage = this.#track(await this.options.open());
    await storage.open?.();
    return storage;
  }

  /** Another open handle on the same records. */
  async reopen(storage: SessionStorage): Promise<SessionStorage> {
    const other = await this.handleOn(storage);
    await other.open?.();
    return other;
  }

  /** Another handle on the same records, not opened. */
  async handleOn(storage: SessionStorage): Promise<SessionStorage> {
    if (this.options.reopen === undefined) throw new Error("testSessionStorage() was given no reopen().");
    return this.#track(await this.options.reopen(storage));
  }

  /** Closes every handle of the test, the last one first. */
  async closeAll(): Promise<void> {
    for (const storage of this.#handles.reverse()) await storage.close?.();
  }

  /** The version of a write that MUST win. Else throws an error with this sentence. */
  async won(
    write: Promise<number | undefined>,
    sentence = "A write that had no rival resolved undefined.",
  ): Promise<number> {
    const version = await write;
    if (version === undefined) throw new Error(sentence);
    if (!Number.isSafeInteger(version)) {
      throw new Error(`write() must resolve the new version, a safe integer; it resolved ${inspect(version)}.`);
    }
    return version;
  }

  /** The call MUST reject with an error that has one of the storage codes, and does not repeat what was to be written. */
  async expectFailure(call: () => Promise<unknown>): Promise<void> {
    const error = await failureOf(call);
    if (error === undefined) throw new Error("A call resolved that must reject with StorageError.");
    const code = error instanceof Error && "code" in error ? error.code : `no code: ${String(error)}`;
    this.expect(code === "STORAGE_CORRUPT" ? "STORAGE_FAILED" : code).toBe("STORAGE_FAILED");
    this.expectNoCanary(error);
  }

  /** Neither the text nor any property of the error, however deep, repeats the canary. */
  expectNoCanary(error: unknown): void {
    this.expect(inspect(error, { depth: 9, showHidden: true }).includes(CANARY)).toBe(false);
  }

  #track(storage: SessionStorage): SessionStorage {
    this.#handles.push(storage);
    return storage;
  }
}

/** What the call threw or rejected with, `undefined` when it did neither. */
export async function failureOf(call: () => Promise<unknown>): Promise<unknown> {
  try {
    await call();
    return undefined;
  } catch (error) {
    return error;
  }
}
