import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type CachedPeer, PeerCache } from "../../src/telegram/peer-cache.js";

describe("put()", () => {
  test("the same peer again - is kept once, as it is told last", () => {
    const peers = new PeerCache<CachedPeer>(10);
    for (let index = 0; index < 1_000; index++) peers.put({ id: "7", username: "alice", name: `name ${index}` });
    expect([peers.size, peers.byId("7")?.name, peers.byUsername("alice")?.name]).toEqual([1, "name 999", "name 999"]);
  });

  test("a username or phone that moved - belongs to its new holder alone", () => {
    const peers = new PeerCache<CachedPeer>(10);
    peers.put({ id: "1", username: "shop", phone: "555" });
    peers.put({ id: "2", username: "shop", phone: "555" });
    expect([peers.byUsername("shop")?.id, peers.byPhone("555")?.id]).toEqual(["2", "2"]);
    peers.put({ id: "1" });
    expect([peers.byUsername("shop")?.id, peers.byPhone("555")?.id]).toEqual(["2", "2"]);
    peers.put({ id: "2", username: "store" });
    expect([peers.byUsername("shop"), peers.byPhone("555"), peers.byUsername("store")?.id]).toEqual([
      undefined,
      undefined,
      "2",
    ]);
  });

  test("over the limit - the one not asked for or told of for longest goes", () => {
    const peers = new PeerCache<CachedPeer>(2);
    peers.put({ id: "1", username: "one" });
    peers.put({ id: "2", username: "two" });
    peers.byUsername("one");
    peers.put({ id: "3" });
    expect([peers.byId("2"), peers.byUsername("two"), peers.byId("1")?.id]).toEqual([undefined, undefined, "1"]);
  });
});

test("any order of puts and look-ups - as a plain list would answer, and never over the limit", () => {
  const name = fc.option(fc.constantFrom("a", "b", "c"), { nil: undefined });
  const peer = fc.record({ id: fc.constantFrom("1", "2", "3", "4"), username: name, phone: name, name });
  fc.assert(
    fc.property(fc.array(peer, { maxLength: 60 }), (told) => {
      const peers = new PeerCache<CachedPeer>(4);
      for (const one of told) peers.put(one);
      for (const key of ["username", "phone"] as const) {
        for (const value of ["a", "b", "c"]) {
          const last = told.findLast((one) => one[key] === value);
          const stillHas = told.findLast((one) => one.id === last?.id) === last;
          const found = key === "username" ? peers.byUsername(value) : peers.byPhone(value);
          expect(found).toBe(stillHas ? last : undefined);
        }
      }
      expect(peers.size).toBe(new Set(told.map(({ id }) => id)).size);
    }),
  );
});
