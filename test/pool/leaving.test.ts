import { expect, test } from "vitest";
import { authKeyFingerprint, parseSession } from "../../src/telegram/session-string.js";
import { openPool } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { settled } from "../fakes/virtual-clock.js";

/** The record that reserves an auth key. */
function reservationOf(name: string): string {
  return `~key:${authKeyFingerprint(parseSession(sessionString(name)).authKey)}`;
}

test("update() - to another key and back under one lease: the key stays the session's, the other one is free", async () => {
  const { pool, storage } = await openPool({ sessions: ["a"] });
  const lease = await pool.acquire();
  await pool.update("a", { session: sessionString("another") });
  await pool.update("a", { session: sessionString("a") });
  lease.release();
  await settled();
  expect(await storage.stored(reservationOf("a"))).toMatchObject({ id: "a", isConfirmed: true });
  expect(await storage.stored(reservationOf("another"))).toBeUndefined();
});
