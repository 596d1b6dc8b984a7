import { randomUUID } from "node:crypto";
import { sharedByCopies } from "../common/shared-by-copies.js";
import { sleep, WakeTimer } from "../common/timers.js";
import { StorageError } from "../errors.js";
import type { ResolvedOptions } from "../options/options.js";
import { RESERVED_PREFIXES } from "../options/validators.js";
import { givenStorage } from "../storage/checked-storage.js";
import type { SessionStorage, StoredRecord } from "../storage/storage.js";
import type { StorageTimeout } from "../storage/storage-timeout.js";
import { updateRecord } from "../storage/update-record.js";
import { openPools, RemoteClaims } from "./claims.js";
import { type Claim, isClaim } from "./ownership.js";
import { isSameThread, ownIdentity, type ProcessIdentity } from "./process-identity.js";

const ID = `${RESERVED_PREFIXES.pool}process`;
const RENEWALS = 3;
const LOOKS_PER_RENEWAL = 4;

/** The storage object of each pool of this thread that is not closed, by the pool's id. */
const storageOf: Map<string, SessionStorage> = sharedByCopies("single-process-storages", Map<string, SessionStorage>);

/**
 * Detects a second process on a storage that supports only one. Such a storage has no compare-and-set across processes,
 * so this is an advisory check: it works as far as one process can see the writes of another.
 */
export class SingleProcessLock {
  readonly #options: Pick<ResolvedOptions<unknown>, "clock" | "storage" | "ownership">;
  readonly #deadline: StorageTimeout;
  readonly #self: ProcessIdentity;
  readonly #pool = randomUUID();
  readonly #foreign: RemoteClaims;
  /** Called when another process has started to use the storage nevertheless. */
  onOvertaken: (error: StorageError) => void = () => {};
  #isOvertaken = false;
  #beat = 0;
  readonly #timer: WakeTimer;
  #renewal: Promise<void> = Promise.resolve();
  #isEnded = false;

  constructor(options: Pick<ResolvedOptions<unknown>, "clock" | "storage" | "ownership">, deadline: StorageTimeout) {
    this.#options = options;
    this.#deadline = deadline;
    this.#self = ownIdentity(options.ownership.host);
    this.#foreign = new RemoteClaims(this.#self);
    this.#timer = new WakeTimer(options.clock, () => {
      this.#renewal = this.#renew().catch(() => {});
      void this.#renewal.then(() => this.#arm());
    });
  }

  /**
   * Rejects with `StorageError` if another process uses the storage, or another pool of this one by a storage object of its
   * own. A claim of another host is observed for its ttl.
   */
  async claim(): Promise<void> {
    // Before the first write: two pools may be opening.
    storageOf.set(this.#pool, givenStorage(this.#options.storage));
    try {
      await this.#claim();
    } catch (error) {
      storageOf.delete(this.#pool);
      throw error;
    }
    openPools.add(this.#pool);
    this.#arm();
  }

  /** Releases the storage. */
  async release(): Promise<void> {
    this.#isEnded = true;
    this.#timer.cancel();
    openPools.delete(this.#pool);
    storageOf.delete(this.#pool);
    // A renewal in flight may still be written.
    await this.#renewal;
    const stored = await this.#read();
    if (stored === undefined || claimIn(stored)?.pool !== this.#pool) return;
    await this.#deadline.run("release the record of the process that uses it", () =>
      this.#options.storage.write(ID, stored.version, null),
    );
  }

  async #claim(): Promise<void> {
    const read = (): Promise<StoredRecord | undefined> => this.#read();
    // Such a storage may accept two writers at one version: only a second read shows which of them won.
    const write = async (expected: number, data: string | null): Promise<number | undefined> => {
      const version = await this.#write(expected, data);
      return version !== undefined && claimIn(await this.#read())?.pool === this.#pool ? version : undefined;
    };
    await updateRecord({ id: ID, read, write }, async (stored) => {
      const claim = claimIn(stored);
      if (claim !== undefined && this.#hasOtherObject(claim)) throw inUseByOtherObject();
      if (claim !== undefined && !(await this.#isVoid(claim))) throw inUse(claim);
      return this.#nextClaim();
    });
  }

  /** Whether a pool of this thread has claimed it that was given another storage object: nothing arbitrates between the two. */
  #hasOtherObject({ pool }: Claim): boolean {
    const other = storageOf.get(pool);
    return other !== undefined && other !== givenStorage(this.#options.storage);
  }

  /** Returns whether the claim has no effect. Pools of the same thread may share a storage object: LocalOwnership arbitrates. */
  async #isVoid(claim: Claim): Promise<boolean> {
    const { clock, ownership } = this.#options;
    if (openPools.has(claim.pool) || isSameThread(claim, this.#self)) return true;
    this.#foreign.observe(ID, claim, clock.monotonic());
    while (this.#foreign.isHeld(ID, clock.monotonic())) {
      if (this.#foreign.isLocal(claim)) return false;
      await sleep(clock, ownership.ttlMs / (RENEWALS * LOOKS_PER_RENEWAL));
      const current = claimIn(await this.#read());
      if (current === undefined) return true;
      if (current.pool !== claim.pool || current.beat !== claim.beat) return false;
    }
    return true;
  }

  #arm(): void {
    if (this.#isEnded) return;
    this.#timer.set(this.#options.ownership.ttlMs / RENEWALS);
  }

  async #renew(): Promise<void> {
    const stored = await this.#read();
    const claim = claimIn(stored);
    if (this.#isEnded) return;
    if (claim === undefined || claim.pool === this.#pool) await this.#write(stored?.version ?? 0, this.#nextClaim());
    else if (!this.#isOvertaken && !openPools.has(claim.pool)) {
      this.#isOvertaken = true;
      this.onOvertaken(inUse(claim));
    }
  }

  #nextClaim(): string {
    const { ttlMs } = this.#options.ownership;
    const claim: Claim = { pool: this.#pool, beat: ++this.#beat, ttlMs, ...this.#self };
    return JSON.stringify(claim);
  }

  #write(expected: number, data: string | null): Promise<number | undefined> {
    return this.#deadline.run("write the record of the process that uses it", () =>
      this.#options.storage.write(ID, expected, data),
    );
  }

  #read(): Promise<StoredRecord | undefined> {
    return this.#deadline.run("read the record of the process that uses it", () => this.#options.storage.read(ID));
  }
}

function claimIn(stored: StoredRecord | undefined): Claim | undefined {
  if (stored === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(stored.data);
    return isClaim(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function inUseByOtherObject(): StorageError {
  return new StorageError(
    "Another pool of this process uses this storage by another storage object, and the two could connect one session twice. Give both pools the same object, or close the other pool first.",
  );
}

function inUse({ pid, host }: Claim): StorageError {
  return new StorageError(
    `Another process (${host === null ? "on a host without a boot id" : `pid ${pid}`}) uses this storage, which supports one process at a time. End it first, or use a storage that processes can share: sqlite(), redis() or postgres().`,
  );
}
