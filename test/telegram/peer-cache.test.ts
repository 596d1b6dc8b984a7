import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type KnownPeer, PeerCache } from "../../src/telegram/peer-cache.js";

const peer = (id: string, rest: Partial<KnownPeer> = {}): KnownPeer => ({ id, accessHash: `${id}0`, ...rest });

describe("put()", () => {
  test("the same peer again - is kept once, with its latest fields", () => {
    const peers = new PeerCache(10);
    for (let index = 0; index < 1_000; index++) peers.put(peer("7", { username: "alice", name: `name ${index}` }));
    expect([peers.size, peers.byId("7")?.name, peers.byUsername("alice")?.name]).toEqual([1, "name 999", "name 999"]);
  });

  test("a username or phone that moved - belongs to its new holder alone", () => {
    const peers = new PeerCache(10);
    peers.put(peer("1", { username: "shop", phone: "555" }));
    peers.put(peer("2", { username: "shop", phone: "555" }));
    expect([peers.byUsername("shop")?.id, peers.byPhone("555")?.id]).toEqual(["2", "2"]);
    peers.put(peer("1"));
    expect([peers.byUsername("shop")?.id, peers.byPhone("555")?.id]).toEqual(["2", "2"]);
    peers.put(peer("2", { username: "store" }));
    expect([peers.byUsername("shop"), peers.byPhone("555"), peers.byUsername("store")?.id]).toEqual([
      undefined,
      undefined,
      "2",
    ]);
  });

  test("a username that moved - the former holder is reported without it", () => {
    const displaced: KnownPeer[] = [];
    const peers = new PeerCache(10, (former) => displaced.push(former));
    peers.put(peer("1", { username: "shop", phone: "555", name: "Old" }));
    peers.put(peer("2", { username: "shop" }));
    expect(displaced).toStrictEqual([peer("1", { phone: "555", name: "Old" })]);
    expect(peers.byId("1")).toStrictEqual(displaced[0]);
    expect(peers.byPhone("555")).toStrictEqual(displaced[0]);
    peers.put(peer("2", { username: "shop" }));
    expect(displaced).toHaveLength(1);
  });

  test("over the limit - the least recently used goes", () => {
    const peers = new PeerCache(2);
    peers.put(peer("1", { username: "one" }));
    peers.put(peer("2", { username: "two" }));
    peers.byUsername("one");
    peers.put(peer("3"));
    expect([peers.byId("2"), peers.byUsername("two"), peers.byId("1")?.id]).toEqual([undefined, undefined, "1"]);
  });
});

describe("take()", () => {
  test("another peer's username - belongs to none; its own stays", () => {
    const displaced: KnownPeer[] = [];
    const peers = new PeerCache(10, (former) => displaced.push(former));
    peers.put(peer("1", { username: "shop" }));
    peers.reassign("username", "shop", "1");
    expect(peers.byUsername("shop")?.id).toBe("1");
    peers.reassign("username", "shop", "2");
    expect([peers.byUsername("shop"), displaced]).toStrictEqual([undefined, [peer("1")]]);
  });
});

describe("restore()", () => {
  test("peers learned meanwhile - are newer than the restored ones", () => {
    const displaced: KnownPeer[] = [];
    const peers = new PeerCache(3, (former) => displaced.push(former));
    peers.put(peer("2", { username: "shop", name: "new" }));
    peers.restore([peer("1", { username: "shop" }), peer("2", { name: "old" }), peer("3")]);
    expect(displaced).toStrictEqual([peer("1")]);
    peers.restore([peer("4")]);
    expect(peers.size).toBe(3);
    expect(peers.byUsername("shop")).toEqual(peer("2", { username: "shop", name: "new" }));
    expect([peers.byId("1")?.id, peers.byId("3")?.id, peers.byId("4")]).toEqual(["1", "3", undefined]);
  });

  test("more than the limit - the latest are kept", () => {
    const peers = new PeerCache(2);
    peers.restore([peer("1"), peer("2"), peer("3")]);
    expect([peers.byId("1"), peers.byId("2")?.id, peers.byId("3")?.id]).toEqual([undefined, "2", "3"]);
  });
});

test("PeerCache - in any order of calls, answers as a plain list would, and never exceeds the limit", () => {
  const name = fc.option(fc.constantFrom("a", "b", "c"), { nil: undefined });
  const told = fc.record({ id: fc.constantFrom("1", "2", "3", "4"), username: name, phone: name, name });
  fc.assert(
    fc.property(fc.array(told, { maxLength: 60 }), (list) => {
      const peers = new PeerCache(4);
      for (const one of list) peers.put(peer(one.id, defined(one)));
      for (const key of ["username", "phone"] as const) {
        for (const value of ["a", "b", "c"]) {
          const last = list.findLast((one) => one[key] === value);
          const stillHas = list.findLast((one) => one.id === last?.id) === last;
          const found = key === "username" ? peers.byUsername(value) : peers.byPhone(value);
          expect([found?.id, found?.name]).toEqual(stillHas ? [last?.id, last?.name] : [undefined, undefined]);
        }
      }
      for (const value of ["a", "b", "c"]) {
        const ids = new Set(list.map(({ id }) => id));
        const named = [...ids].filter((id) => list.findLast((one) => one.id === id)?.name === value);
        expect(peers.byName(value) !== undefined).toBe(named.length > 0);
      }
      expect(peers.size).toBe(new Set(list.map(({ id }) => id)).size);
    }),
  );
});

function defined(fields: Readonly<Record<string, string | undefined>>): Partial<KnownPeer> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

test("has() - by id and username, and does not delay the eviction of the peer", () => {
  const peers = new PeerCache(2);
  peers.put(peer("1", { username: "shop" }));
  peers.put(peer("2"));
  expect([peers.has("id", "1"), peers.has("username", "shop"), peers.has("username", "1")]).toEqual([
    true,
    true,
    false,
  ]);
  peers.put(peer("3"));
  expect([peers.has("id", "1"), peers.has("username", "shop"), peers.has("id", "2")]).toEqual([false, false, true]);
});
