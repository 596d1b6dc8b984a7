import { expect, test } from "vitest";
import { type AppliedLimit, CallCounters } from "../../src/rate-limits/call-counters.js";

const allowance: AppliedLimit = { method: "m", peer: undefined, calls: 2, perMs: 100, retentionMs: 100 };

test("spent() - only what has no room, session by session and peer by peer", () => {
  const spending = new CallCounters();
  const ofPeer: AppliedLimit = { ...allowance, peer: "user:1", calls: 1 };
  spending.add("a", [allowance, ofPeer], 10);
  expect(spending.spent("a", [allowance, ofPeer], 20)).toEqual([{ allowance: ofPeer, until: 110 }]);
  expect(spending.spent("a", [allowance, { ...ofPeer, peer: "user:2" }], 20)).toEqual([]);
  expect(spending.spent("b", [allowance, ofPeer], 20)).toEqual([]);
  spending.add("a", [allowance], 30);
  expect(spending.spent("a", [allowance], 30)).toEqual([{ allowance, until: 110 }]);
  expect(spending.spent("a", [allowance], 110)).toEqual([]);
});

test("add() - what is over goes while others send, so that idle sessions cost nothing", () => {
  const spending = new CallCounters();
  for (let session = 0; session < 1_000; session++) spending.add(`s${session}`, [allowance], session);
  expect(spending.size).toBeLessThan(200);
  for (let call = 0; call < 200; call++) spending.add("last", [allowance], 5_000 + call);
  expect(spending.size).toBe(1);
});

test("add() - a peer that was written to once is forgotten, too", () => {
  const spending = new CallCounters();
  for (let peer = 0; peer < 1_000; peer++) spending.add("a", [{ ...allowance, peer: `user:${peer}` }], peer);
  expect(spending.spent("a", [{ ...allowance, calls: 1, peer: "user:1" }], 1_000)).toEqual([]);
  const kept = Array.from({ length: 1_000 }, (_, peer) => spending.window("a", `m user:${peer}`)).filter(Boolean);
  expect(kept.length).toBeLessThan(200);
});
