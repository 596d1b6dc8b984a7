import { describe, expect, test } from "vitest";
import { memory } from "../../src/storage/memory.js";
import type { SessionStorage } from "../../src/storage/storage.js";
import { type FakeCall, FakeTelegram, READ, WRITE } from "../fakes/fake-telegram.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { openPool, type TestPool } from "../fakes/pools.js";
import { seededIntegers } from "../fakes/seeded-random.js";
import { sessionString } from "../fakes/sessions.js";
import { flood } from "../fakes/telegram-errors.js";
import { settled, VirtualClock } from "../fakes/virtual-clock.js";

const OWN = "users.GetUsers";
const TTL_MS = 60_000;
/** By when a process has read what another one has written: it reads all records in this interval. */
const NOTICED_MS = TTL_MS / 3 + 1_000;
const LONGEST_S = 90;
const STEPS = 120;

/** The sessions of each account. Those of the last account do not say whose they are. */
const ACCOUNTS: Readonly<Record<string, readonly string[]>> = {
  "101": ["a1", "a2", "a3"],
  "102": ["b1", "b2"],
  "103": ["c1"],
  "104": ["d1", "d2"],
};
const UNNAMED = "104";
const accountOf = (id: string): string => Object.keys(ACCOUNTS).find((name) => ACCOUNTS[name]?.includes(id)) ?? "";

/** A wait that Telegram has named. */
interface Wait {
  readonly account: string;
  /** The method that it is for; `undefined`: all of them. */
  readonly method: string | undefined;
  readonly until: number;
  /** The process that was told, until it crashed. */
  toldTo: Host | undefined;
  /** When the record of a session was known to contain it, by session. */
  readonly writtenAt: Map<string, number>;
}

/** A process. */
interface Host {
  readonly name: string;
  readonly storage: FaultyStorage;
  readonly telegram: FakeTelegram;
  readonly opened: TestPool;
  readonly connectedAt: Map<string, number>;
}

/** Two processes over one storage, and Telegram, which judges the account. */
class World {
  readonly clock = new VirtualClock();
  readonly waits: Wait[] = [];
  readonly violations: string[] = [];
  readonly hosts: Host[] = [];
  calls = 0;
  floods = 0;
  readonly #inner: SessionStorage = memory();
  readonly #random: (below: number) => number;
  readonly #scope: "session" | "method";
  #floodsAhead = 0;
  #started = 0;

  constructor(random: (below: number) => number, scope: "session" | "method") {
    this.#random = random;
    this.#scope = scope;
  }

  async start(place: number): Promise<Host> {
    // Each is a machine of its own: here all of them share a process, which lives.
    const name = `host${++this.#started}`;
    const storage = new FaultyStorage(this.#inner);
    const telegram = Object.assign(new FakeTelegram(this.clock), { ownUserRequest: () => ({ className: OWN }) });
    const connectedAt = new Map<string, number>();
    telegram.onConnect = (id) => void connectedAt.set(id, this.clock.monotonic());
    const opened = await openPool({
      storage,
      telegram,
      clock: this.clock,
      cooldownScope: this.#scope,
      idleTimeoutMs: 5_000,
      ownership: { ttlMs: TTL_MS, host: name },
    });
    const host = { name, storage, telegram, opened, connectedAt };
    telegram.onCall = (call) => this.#answer(host, call);
    opened.pool.on("cooled", ({ id, method }) => this.#onCooled(id, method));
    this.hosts[place] = host;
    return host;
  }

  /** The process is killed: its sockets are gone, and whatever it still writes is lost. */
  crash({ storage, telegram, name }: Host): void {
    storage.fateOfWrite = storage.fateOfRead = storage.fateOfList = () => "hangs";
    for (const handle of telegram.handles) handle.drop(`${name} was killed`);
    telegram.onConnect = () => new Promise(() => {});
    for (const wait of this.waits) if (wait.toldTo?.telegram === telegram) wait.toldTo = undefined;
  }

  /** Telegram refuses the next call of the account for some time. */
  floodNext(): void {
    this.#floodsAhead++;
  }

  #answer(host: Host, { id, method }: FakeCall): unknown {
    this.calls++;
    const now = this.clock.monotonic();
    const account = accountOf(id);
    const isKnown = host.opened.pool.get(id)?.accountId === account;
    const active = this.waits.filter(
      (wait) => wait.account === account && wait.until > now && (wait.method ?? method) === method,
    );
    for (const wait of active) {
      if (isKnown && this.#isDue(wait, host, id, now)) {
        this.violations.push(`${host.name} sent ${method} by ${id} ${wait.until - now} ms too early`);
      }
    }
    const [left] = active.map(({ until }) => until - now).sort((one, other) => other - one);
    if (left !== undefined) throw this.#refuse(host, account, method, Math.ceil(left / 1_000));
    if (this.#floodsAhead > 0 && method !== OWN) {
      this.#floodsAhead--;
      throw this.#refuse(host, account, method, 1 + this.#random(LONGEST_S));
    }
    return method === OWN ? [{ className: "User", self: true, id: BigInt(account), bot: false }] : "ok";
  }

  /** Whether the process knows of the wait, or has to. */
  #isDue({ toldTo, writtenAt, until }: Wait, host: Host, id: string, now: number): boolean {
    if (toldTo === host) return true;
    if (until - now < 1_000) return false;
    const at = writtenAt.get(id);
    if (at !== undefined && (host.connectedAt.get(id) ?? 0) > at) return true;
    return [...writtenAt.values()].some((written) => now - written > NOTICED_MS);
  }

  #refuse(host: Host, account: string, refused: string, seconds: number): Error {
    const method = this.#scope === "method" ? refused : undefined;
    const until = this.clock.monotonic() + seconds * 1_000;
    this.waits.push({ account, method, until, toldTo: host, writtenAt: new Map() });
    this.floods++;
    return flood(seconds);
  }

  #onCooled(id: string, method: string | undefined): void {
    const now = this.clock.monotonic();
    for (const wait of this.waits) {
      if (wait.account !== accountOf(id) || wait.method !== method || wait.until <= now) continue;
      if (!wait.writtenAt.has(id)) wait.writtenAt.set(id, now);
    }
  }
}

/** One random step of a process, or of time. */
async function step(world: World, random: (below: number) => number): Promise<void> {
  const place = random(2);
  const host = world.hosts[place];
  if (host === undefined) throw new Error("There is no such process.");
  const { pool } = host.opened;
  const ids = Object.values(ACCOUNTS).flat();
  const id = ids[random(ids.length)] ?? "a1";
  const method = random(2) === 0 ? READ : WRITE;
  switch (random(12)) {
    case 0:
      world.floodNext();
      return;
    case 1:
    case 2:
      return world.clock.advance(random(40_000));
    case 3:
      return world.clock.advance(random(1_000));
    case 4:
      if (random(4) > 0) return;
      if (random(2) === 0) world.crash(host);
      else await Promise.all([pool.close(), world.clock.advance(10_000)]);
      await world.start(place);
      return;
    case 5: {
      const lease = await pool.acquire({ id, wait: false }).catch(() => undefined);
      if (lease === undefined) return;
      for (let turn = 0; turn < 3; turn++) {
        await lease.client.call(method).catch(() => {});
        await world.clock.advance(random(4_000));
      }
      lease.release();
      return;
    }
    case 6:
      // The account instead of one of its sessions.
      await pool
        .use((client) => client.call(method), { account: accountOf(id), wait: false, retry: "any" })
        .catch(() => {});
      return settled();
    default:
      await pool.use((client) => client.call(method), { id, wait: false, retry: "none" }).catch(() => {});
      return settled();
  }
}

async function addAll({ pool }: TestPool): Promise<void> {
  for (const [accountId, ids] of Object.entries(ACCOUNTS)) {
    const named = accountId === UNNAMED ? {} : { accountId };
    await pool.addMany(ids.map((id) => ({ id, session: sessionString(id), ...named })));
  }
}

/** Each session of each process is used again once all waits are over. */
async function expectAllServe(world: World): Promise<void> {
  await world.clock.advance(LONGEST_S * 1_000 + 3 * TTL_MS);
  for (const { opened, telegram } of world.hosts) {
    telegram.onCall = () => "ok";
    for (const id of Object.values(ACCOUNTS).flat()) {
      const used = opened.pool.use((client) => client.call(READ), { id, wait: false });
      await expect(used.then(() => id)).resolves.toBe(id);
    }
    await world.clock.advance(3 * TTL_MS);
  }
}

describe("floods of accounts, random runs over two processes", () => {
  test.each([1, 2, 3, 4])("seed %i - no session of an account sends before its wait ends", async (seed) => {
    const random = seededIntegers(seed * 7_919);
    const world = new World(random, seed % 2 === 0 ? "method" : "session");
    const first = await world.start(0);
    await addAll(first.opened);
    await world.start(1);
    for (let index = 0; index < STEPS; index++) {
      await step(world, random);
      expect({ index, violations: world.violations }).toEqual({ index, violations: [] });
    }
    expect(Math.min(world.floods / 3, world.calls / 20)).toBeGreaterThan(1);
    await expectAllServe(world);
  });
});
