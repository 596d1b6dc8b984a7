import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { RemoteClaims } from "../../src/ownership/claims.js";
import { LocalOwnership } from "../../src/ownership/local-ownership.js";
import type { Claim } from "../../src/ownership/ownership.js";
import { ownIdentity } from "../../src/ownership/process-identity.js";
import { SessionEntry } from "../../src/state/session-entry.js";
import { SessionTable } from "../../src/state/session-table.js";
import { RecordWriter } from "../../src/storage/record-writer.js";
import type { SessionStorage } from "../../src/storage/storage.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { fakeContext } from "../fakes/pool-context.js";
import { settled } from "../fakes/virtual-clock.js";

setFlagsFromString("--expose_gc");
const collect = runInNewContext("gc") as () => void;

async function heap(): Promise<number> {
  for (let times = 0; times < 4; times++) {
    collect();
    await settled();
  }
  return process.memoryUsage().heapUsed;
}

/** The ownership of a pool that has the storage. */
function ownershipOver(storage: SessionStorage): LocalOwnership {
  const context = fakeContext({ storage });
  return new LocalOwnership(
    context,
    new SessionTable({ leasesPerSession: 1, maxConnected: 1 }),
    new RecordWriter(context),
  );
}

/** What one cycle leaves behind, in bytes. */
async function growth(cycles: number, work: (from: number, to: number) => unknown): Promise<number> {
  await work(0, cycles / 10);
  const before = await heap();
  await work(cycles / 10, cycles);
  return ((await heap()) - before) / cycles;
}

describe("RemoteClaims - pools that come and go", () => {
  const self = ownIdentity();
  test.each([
    ["of a process that runs", { ...self, pid: process.pid, thread: self.thread, startedAt: `${self.startedAt}` }],
    ["of processes that are gone", { ...self, pid: 2 ** 22 - 1, thread: 2 ** 22 - 1, startedAt: "1" }],
  ])("%s - are forgotten with their claims", async (_, identity) => {
    const claims = new RemoteClaims({ ...self, startedAt: "another thread" });
    let now = 0;
    const left = await growth(20_000, (from, to) => {
      for (let i = from; i < to; i++) {
        const claim: Claim = { ...identity, pool: `${i}-3f2b8a5e-9d4c-4a57`, beat: 1, ttlMs: 60_000 };
        claims.observe("a", claim, now);
        claims.isHeld("a", ++now);
        if (i % 2 === 0) claims.forget("a");
      }
    });
    expect(left).toBeLessThan(40);
    expect(claims.forget("a")).toBe(true);
  });
});

test("LocalOwnership - sessions that are held and removed leave nothing behind", async () => {
  const storage = new FaultyStorage();
  const ownership = ownershipOver(storage);
  const left = await growth(20_000, async (from, to) => {
    for (let i = from; i < to; i++) {
      await ownership.claim(`session ${i}`);
      await ownership.release(`session ${i}`);
      ownership.forget(`session ${i}`);
    }
  });
  expect(left).toBeLessThan(40);
  ownership.end();
});

test("SessionTable - the cooldown of one peer, ever longer: one instant is kept, until the session leaves", async () => {
  const sessionTable = new SessionTable({ leasesPerSession: 1, maxConnected: 1 });
  const entry = new SessionEntry("a", [], 0);
  sessionTable.add([entry], 0);
  const left = await growth(20_000, (from, to) => {
    for (let i = from; i < to; i++) sessionTable.cool(entry, { kind: "peer", peer: "user:1" }, 86_400 + i, "", 0);
  });
  expect(left).toBeLessThan(40);
  sessionTable.remove(entry, 0);
  expect(sessionTable.nextDueAt).toBe(Number.POSITIVE_INFINITY);
});

test("LocalOwnership - the storage object keeps no pool in memory that is closed", async () => {
  const storage = new FaultyStorage();
  const first = ownershipOver(storage);
  const closed: WeakRef<object>[] = [];
  for (let i = 0; i < 3; i++) {
    await (async () => {
      const ownership = ownershipOver(storage);
      await ownership.claim(`session ${i}`);
      await ownership.release(`session ${i}`);
      ownership.end();
      closed.push(new WeakRef(ownership));
    })();
  }
  await heap();
  expect(closed.filter((ownership) => ownership.deref() !== undefined)).toEqual([]);
  // What the closed ones may have written is still read before the next one uses it.
  expect(await first.claim("session 0")).toBeDefined();
  first.end();
});
