import { expect, test } from "vitest";
import { type AppliedLimit, CallCounters } from "../../src/rate-limits/call-counters.js";

const limit: AppliedLimit = { method: "m", peer: undefined, calls: 2, perMs: 100, retentionMs: 100 };

test("exhausted() - only what has no room, session by session and peer by peer", () => {
  const counters = new CallCounters();
  const ofPeer: AppliedLimit = { ...limit, peer: "user:1", calls: 1 };
  counters.add("a", [limit, ofPeer], 10);
  expect(counters.exhausted("a", [limit, ofPeer], 20)).toEqual([{ limit: ofPeer, until: 110 }]);
  expect(counters.exhausted("a", [limit, { ...ofPeer, peer: "user:2" }], 20)).toEqual([]);
  expect(counters.exhausted("b", [limit, ofPeer], 20)).toEqual([]);
  counters.add("a", [limit], 30);
  expect(counters.exhausted("a", [limit], 30)).toEqual([{ limit, until: 110 }]);
  expect(counters.exhausted("a", [limit], 110)).toEqual([]);
});

test("add() - deletes expired counts while others send, so that idle sessions cost nothing", () => {
  const counters = new CallCounters();
  for (let session = 0; session < 1_000; session++) counters.add(`s${session}`, [limit], session);
  expect(counters.size).toBeLessThan(200);
  for (let call = 0; call < 200; call++) counters.add("last", [limit], 5_000 + call);
  expect(counters.size).toBe(1);
});

test("add() - deletes a peer that was written to once, too", () => {
  const counters = new CallCounters();
  for (let peer = 0; peer < 1_000; peer++) counters.add("a", [{ ...limit, peer: `user:${peer}` }], peer);
  expect(counters.exhausted("a", [{ ...limit, calls: 1, peer: "user:1" }], 1_000)).toEqual([]);
  const kept = Array.from({ length: 1_000 }, (_, peer) => counters.window("a", `m user:${peer}`)).filter(Boolean);
  expect(kept.length).toBeLessThan(200);
});
