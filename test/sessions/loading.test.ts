import { describe, expect, test } from "vitest";
import { aesGcm } from "../../src/index.js";
import { formatSession, parseSession } from "../../src/telegram/session-string.js";
import { remember } from "../canary/session-finder.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { openPool } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { settled } from "../fakes/virtual-clock.js";

/** A session on a server that is none of Telegram's. */
function elsewhere(name: string): string {
  const session = formatSession({ ...parsed(name), serverAddress: "203.0.113.7" }, "gramjs");
  remember(session);
  return session;
}

function parsed(name: string): Parameters<typeof formatSession>[0] {
  const { dcId, port, authKey, isTest, serverAddress } = parseSession(sessionString(name));
  return { dcId, port, authKey, isTest, serverAddress, format: "gramjs" };
}

const encryption = aesGcm(new Uint8Array(32).fill(7));

describe.each([
  ["stored", {}],
  ["sealed", { encryption }],
])("a %s record", (_, options) => {
  test("that names a server outside Telegram's ranges - is set aside, unless servers are trusted", async () => {
    const storage = new FaultyStorage();
    const before = await openPool({ storage, trustServers: true, ...options });
    await before.pool.add("a", elsewhere("a"));
    await before.pool.add("b", sessionString("b"));
    await before.pool.close();
    const after = await openPool({ storage: storage.sibling(), ...options });
    await settled();
    expect(after.pool.sessions().map(({ id }) => id)).toEqual(["b"]);
    expect(after.events("recordRejected")).toEqual([{ id: "a", reason: expect.stringContaining("trustServers") }]);
    await expect(after.pool.add("a", sessionString("a"))).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
    await after.pool.close();
    const trusting = await openPool({ storage: storage.sibling(), trustServers: true, ...options });
    expect(trusting.pool.sessions().map(({ id }) => id)).toEqual(["a", "b"]);
  });

  test("whose fingerprint belongs to another key - is set aside: one key is not loaded under two ids", async () => {
    const storage = new FaultyStorage();
    const before = await openPool({ storage, sessions: ["a"], ...options });
    await before.pool.close();
    const stored = await storage.read("a");
    const changed = (stored?.data ?? "").replace(/"fingerprint":"[0-9a-f]{16}"/, '"fingerprint":"0123456789abcdef"');
    await storage.write("a", stored?.version ?? 0, changed);
    const after = await openPool({ storage: storage.sibling(), ...options });
    await settled();
    expect({ sessions: after.pool.sessions(), recordRejected: after.events("recordRejected") }).toEqual({
      sessions: [],
      recordRejected: [{ id: "a", reason: expect.stringContaining("fingerprint") }],
    });
  });

  test("that another process adds with such a server - is set aside", async () => {
    const storage = new FaultyStorage();
    const one = await openPool({ storage, trustServers: true, ...options });
    const two = await openPool({ storage: storage.sibling(), clock: one.clock, ...options });
    await one.pool.add("a", elsewhere("a"));
    await one.clock.advance(21_000);
    expect({ session: two.pool.get("a"), rejectedIds: two.events("recordRejected").map(({ id }) => id) }).toEqual({
      session: undefined,
      rejectedIds: ["a"],
    });
  });
});
