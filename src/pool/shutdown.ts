import type { Clock } from "../clock.js";
import type { Connections } from "../connections/connections.js";
import { PoolClosedError } from "../errors.js";
import type { Ledger } from "../records/ledger.js";
import type { Ownership } from "../records/ownership/ownership.js";
import type { SoleUse } from "../records/ownership/sole-use.js";
import type { PeerJournal } from "../records/peers/peer-journal.js";
import type { SessionStorage } from "../records/storage.js";
import type { StorageDeadline } from "../records/storage-deadline.js";
import type { Budgeting } from "./budgets/budgeting.js";
import type { Dispatcher } from "./dispatcher.js";
import type { KeepAlive } from "./keep-alive.js";
import type { Keeper } from "./keeper.js";
import type { Leases } from "./leases.js";
import type { Maps } from "./map/maps.js";
import type { PoolLog } from "./pool-log.js";
import type { Prober } from "./prober.js";
import type { Departures } from "./sessions/departures.js";
import type { Refresh } from "./sessions/refresh.js";

/** What ending a pool needs. */
export interface ShutdownParts {
  readonly clock: Clock;
  readonly closeTimeoutMs: number;
  readonly dispatcher: Dispatcher;
  readonly leases: Leases<unknown>;
  readonly connections: Connections<unknown>;
  readonly ledger: Ledger;
  readonly ownership: Ownership;
  readonly refresh: Refresh;
  readonly departures: Departures;
  readonly peers: PeerJournal;
  readonly budgets: Pick<Budgeting, "flush"> | undefined;
  readonly keeper: Keeper;
  readonly prober: Prober;
  readonly soleUse: SoleUse | undefined;
  readonly storage: SessionStorage;
  readonly deadline: StorageDeadline;
  readonly keepAlive: KeepAlive;
  readonly maps: Pick<Maps<unknown>, "end" | "close">;
  storageFailed(error: Error): void;
  readonly log: Pick<PoolLog, "close" | "write">;
}

/** The end of a pool: callers, leases, clients, writes, storage, in that order, each within its deadline. */
export class Shutdown {
  readonly #parts: ShutdownParts;
  /** Those that are under way. */
  readonly #changes = new Set<Promise<unknown>>();
  #ended: Promise<void> | undefined;
  #reason: Error | undefined;
  #isHurried = false;
  /** Leases may still end by themselves. */
  #isWaiting = true;
  #hurry: () => void = () => {};

  constructor(parts: ShutdownParts) {
    this.#parts = parts;
  }

  /** What everybody gets who comes too late. A caller that is under way may go on until leases are waited for no longer. */
  closed(isUnderWay = false): PoolClosedError | undefined {
    const mayGoOn = this.#ended === undefined || (isUnderWay && this.#isWaiting);
    return mayGoOn ? undefined : closedError(this.#reason);
  }

  /** A change that is under way is waited for. */
  waitFor<T>(change: Promise<T>): Promise<T> {
    this.#changes.add(change);
    const forget = (): boolean => this.#changes.delete(change);
    change.then(forget, forget);
    return change;
  }

  close(timeoutMs: number = this.#parts.closeTimeoutMs): Promise<void> {
    this.#ended ??= this.#end(timeoutMs);
    return this.#ended;
  }

  destroy(reason?: Error): Promise<void> {
    this.#reason ??= reason;
    this.#isHurried = true;
    this.#ended ??= this.#end(undefined);
    this.#hurry();
    return this.#ended;
  }

  /** Leases get `timeoutMs` to end; with `undefined` they end now, and it is nobody's fault. */
  async #end(timeoutMs: number | undefined): Promise<void> {
    const {
      dispatcher,
      leases,
      connections,
      ledger,
      ownership,
      refresh,
      departures,
      peers,
      budgets,
      keeper,
      prober,
      soleUse,
      keepAlive,
      storageFailed,
    } = this.#parts;
    keepAlive.need();
    // One turn later `closed()` is set, and what is rejected here can look at it.
    await Promise.resolve();
    dispatcher.fail(() => closedError(this.#reason));
    const mapsEnd = this.#parts.maps.end(closedError(this.#reason));
    if (timeoutMs !== undefined && !this.#isHurried) await this.#leasesEnd(timeoutMs);
    this.#isWaiting = false;
    keeper.end();
    prober.end();
    leases.revokeAll((id) => closedError(this.#reason, id), "the pool was closed", timeoutMs !== undefined);
    await connections.closeAll("the pool was closed");
    refresh.stop();
    await Promise.allSettled([mapsEnd]);
    await this.#changesEnd();
    await Promise.all([departures.end(), ledger.flush(), peers.flush(), budgets?.flush().catch(storageFailed)]);
    await this.#changesEnd();
    ledger.close();
    ownership.end();
    peers.close();
    await soleUse?.release().catch(storageFailed);
    await this.#parts.maps.close().catch(storageFailed);
    await this.#closeStorage();
    dispatcher.close();
    this.#parts.log.close();
    keepAlive.end();
  }

  /** A change that ends may leave something to be done after it. */
  async #changesEnd(): Promise<void> {
    while (this.#changes.size > 0) await Promise.allSettled(this.#changes);
  }

  /** Resolves when no lease is left, or after `timeoutMs`. */
  #leasesEnd(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const { clock, leases, log } = this.#parts;
      const timer = Number.isFinite(timeoutMs) ? clock.setTimer(timeoutMs, () => end()) : undefined;
      const notice = clock.setTimer(NOTICE_AFTER_MS, () => {
        log.write("warn", waitsFor(leases, timeoutMs - NOTICE_AFTER_MS), { event: "closeWaits" });
      });
      const end = (): void => {
        timer?.cancel();
        notice.cancel();
        resolve();
      };
      this.#hurry = end;
      void leases.idle().then(end);
    });
  }

  async #closeStorage(): Promise<void> {
    const { storage, deadline, storageFailed } = this.#parts;
    await deadline.run("close", () => storage.close?.()).catch(storageFailed);
  }
}

/** So long `close` waits in silence. */
const NOTICE_AFTER_MS = 1_000;
/** Leases that are named one by one. */
const MOST_NAMED = 10;

/** For whom a pool waits that is being closed: without it, that looks as if the process hung. */
function waitsFor(all: Pick<Leases<unknown>, "list" | "expected">, leftMs: number): string {
  const leases = all.list();
  const named = leases.slice(0, MOST_NAMED).map(({ id, heldMs, stack }) => {
    const place = stack === undefined ? "" : `, taken at${stack.replace(/^[^\n]*/, "")}`;
    return `"${id}" (held for ${Math.round(heldMs / 1000)} s${place})`;
  });
  const more = leases.length > MOST_NAMED ? ` and ${leases.length - MOST_NAMED} more` : "";
  const end = Number.isFinite(leftMs)
    ? ` for ${Math.max(0, Math.ceil(leftMs / 1000))} s more, then takes them back`
    : "";
  if (leases.length === 0) return `close() waits for ${all.expected} callers whose session still connects${end}.`;
  const hint = leases.some(({ stack }) => stack !== undefined)
    ? ""
    : " Was release() forgotten? traceLeases: true tells where they were taken.";
  return `close() waits for ${leases.length === 1 ? "a lease" : `${leases.length} leases`}${end}: ${named.join(", ")}${more}.${hint}`;
}

function closedError(reason: Error | undefined, sessionId?: string): PoolClosedError {
  return new PoolClosedError("The pool is closed.", {
    ...(reason === undefined ? {} : { cause: reason }),
    sessionId,
  });
}
