import { createHook } from "node:async_hooks";
import { randomBytes } from "node:crypto";
import { inspect } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { arePeersCurrent, encryptedPeerStorage } from "../../src/encryption/encrypted-peers.js";
import { aesGcm, isSealedText, type Sealer } from "../../src/encryption/sealer.js";
import { memory } from "../../src/storage/memory.js";
import type { PeerStorage, StoredPeer } from "../../src/storage/storage.js";

const KEY = randomBytes(32);
const OLD_KEY = randomBytes(32);
const ALICE: StoredPeer = { id: "1", accessHash: "-77", username: "alice", phone: "15550001", name: "Alice 👩‍👧 \0" };
const GROUP: StoredPeer = { id: "-1001234567890123", accessHash: "9223372036854775807" };

function plainPeers(): PeerStorage {
  const { peers } = memory();
  if (peers === undefined) throw new Error("The memory storage has no peers.");
  return peers;
}

/** A sealer that answers later, as one over a network does. */
function later(sealer: Sealer): Sealer {
  return {
    seal: async (id, text) => sealer.seal(id, text),
    open: async (id, sealed) => sealer.open(id, sealed),
    blindIndexes: async (text) => sealer.blindIndexes?.(text) ?? [],
  };
}

describe.each([
  ["synchronous", (sealer: Sealer) => sealer],
  ["asynchronous", later],
])("a sealer that is %s", (_, made) => {
  const sealer = made(aesGcm(KEY));

  test("load() - returns what was saved, the most recently used last", async () => {
    const peers = encryptedPeerStorage(plainPeers(), sealer);
    await peers.save("a", [ALICE, GROUP]);
    await peers.save("b", [{ id: "1", accessHash: "5" }]);
    expect(await peers.load("a")).toEqual([ALICE, GROUP]);
    await peers.save("a", [{ ...ALICE, accessHash: "8" }]);
    expect(await peers.load("a")).toEqual([GROUP, { ...ALICE, accessHash: "8" }]);
    expect(await peers.load("b")).toEqual([{ id: "1", accessHash: "5" }]);
    expect(await peers.load("c")).toEqual([]);
  });

  test("save() - stores the id, one sealed text, and a blind index in the place of the username", async () => {
    const plain = plainPeers();
    await encryptedPeerStorage(plain, sealer).save("a", [ALICE, GROUP]);
    const rows = await plain.load("a");
    expect(rows.map((row) => Object.keys(row))).toEqual([
      ["id", "accessHash", "username"],
      ["id", "accessHash"],
    ]);
    expect(rows[0]?.username).toMatch(/^[\w-]{22}$/);
    expect(rows.map(({ id }) => id)).toEqual([ALICE.id, GROUP.id]);
    expect(rows.every(({ accessHash }) => isSealedText(accessHash))).toBe(true);
    for (const secret of ["alice", "15550001", "Alice", GROUP.accessHash]) expect(inspect(rows)).not.toContain(secret);
  });

  test("save() - a sealer that fails - rejects, and nothing is written", async () => {
    const plain = plainPeers();
    const broken = made({
      seal: () => {
        throw new Error("the key service is away");
      },
      open: sealer.open,
    });
    await expect(encryptedPeerStorage(plain, broken).save("a", [ALICE, GROUP])).rejects.toThrow(
      "the key service is away",
    );
    expect(await plain.load("a")).toEqual([]);
  });

  test("load() - a row of another session, of another peer, damaged, plain or of an unknown key - is left out", async () => {
    const plain = plainPeers();
    const peers = encryptedPeerStorage(plain, sealer);
    await peers.save("a", [ALICE, GROUP, { id: "2", accessHash: "2" }, { id: "3", accessHash: "3" }]);
    const [alice, , two, three] = (await plain.load("a")).map(({ accessHash }) => accessHash);
    await plain.save("b", [{ id: ALICE.id, accessHash: `${alice}` }]);
    await encryptedPeerStorage(plain, aesGcm(randomBytes(32))).save("a", [{ id: "4", accessHash: "4" }]);
    await plain.save("a", [
      { id: "2", accessHash: `${three}` },
      { id: "3", accessHash: `${two}`.slice(0, -1) },
      { id: "5", accessHash: "5", name: "plain" },
    ]);
    expect(await peers.load("a")).toEqual([ALICE, GROUP]);
    expect(await peers.load("b")).toEqual([]);
  });

  test("load() - plain rows, with a sealer that takes plain text - are taken as they are", async () => {
    const plain = plainPeers();
    const peers = encryptedPeerStorage(plain, made(aesGcm(KEY, { allowPlaintext: true })));
    await plain.save("a", [ALICE, GROUP]);
    await peers.save("a", [{ id: "2", accessHash: "2" }]);
    expect(await peers.load("a")).toEqual([ALICE, GROUP, { id: "2", accessHash: "2" }]);
  });

  test("knowing() - by id and by username - the sessions that hold the peer, sealed with any key in use", async () => {
    const plain = plainPeers();
    const older = encryptedPeerStorage(plain, made(aesGcm(OLD_KEY)));
    await older.save("a", [ALICE]);
    const peers = encryptedPeerStorage(plain, made(aesGcm([KEY, OLD_KEY])));
    await peers.save("b", [GROUP, ALICE]);
    await peers.save("c", [GROUP]);
    expect(await peers.knowing?.("username", ["alice"])).toEqual(["b", "a"]);
    expect(await peers.knowing?.("id", ["1"])).toEqual(["a", "b"]);
    expect(await peers.knowing?.("username", ["bob"])).toEqual([]);
    expect(await older.knowing?.("username", ["alice"])).toEqual(["a"]);
    expect(await plain.knowing?.("username", ["alice"])).toEqual([]);
  });

  test("knowing() - plain rows, with a sealer that takes plain text - are found as well", async () => {
    const plain = plainPeers();
    const peers = encryptedPeerStorage(plain, made(aesGcm(KEY, { allowPlaintext: true })));
    await plain.save("a", [ALICE]);
    await peers.save("b", [ALICE]);
    expect(await peers.knowing?.("username", ["alice"])).toEqual(["b", "a"]);
  });

  test("clear() - forgets the session's peers alone", async () => {
    const peers = encryptedPeerStorage(plainPeers(), sealer);
    await peers.save("a", [ALICE]);
    await peers.save("b", [GROUP]);
    await peers.clear("a");
    expect([await peers.load("a"), await peers.load("b")]).toEqual([[], [GROUP]]);
  });
});

test("save() - a sealer that rejects for one peer and throws for the next - rejects once, and nothing is left over", async () => {
  const unhandled: unknown[] = [];
  const listen = (reason: unknown): void => void unhandled.push(reason);
  process.on("unhandledRejection", listen);
  let calls = 0;
  const sealer: Sealer = {
    seal() {
      if (calls++ > 0) throw new Error("thrown");
      return Promise.reject(new Error("rejected"));
    },
    open: (_, sealed) => sealed,
  };
  await expect(encryptedPeerStorage(plainPeers(), sealer).save("a", [ALICE, GROUP])).rejects.toThrow("rejected");
  await new Promise((resolve) => setImmediate(resolve));
  process.off("unhandledRejection", listen);
  expect(unhandled).toEqual([]);
});

test("load() - ignores plain columns beside a sealed text", async () => {
  const plain = plainPeers();
  const peers = encryptedPeerStorage(plain, aesGcm(KEY, { allowPlaintext: true }));
  await peers.save("a", [GROUP]);
  const [row] = await plain.load("a");
  await plain.save("a", [{ ...GROUP, ...row, username: "mallory", phone: "1", name: "Mallory" }]);
  expect(await peers.load("a")).toEqual([GROUP]);
});

test.each(["", "5", "null", "[]", "{}", '{"accessHash":5}', '{"accessHash":"5","name":7}', '{"accessHash":'])(
  "load() - a row in which %j was sealed - is left out",
  async (text) => {
    const plain = plainPeers();
    const sealer: Sealer = { seal: () => "sealed", open: () => text };
    await plain.save("a", [{ id: "1", accessHash: "sealed" }]);
    expect(await encryptedPeerStorage(plain, sealer).load("a")).toEqual([]);
  },
);

test("load() - the storage fails - rejects as the storage does", async () => {
  const failing: PeerStorage = { ...plainPeers(), load: () => Promise.reject(new Error("disk")) };
  await expect(encryptedPeerStorage(failing, aesGcm(KEY)).load("a")).rejects.toThrow("disk");
});

test("save() and load() - any peers of any session - come back", async () => {
  const text = fc.string({ unit: "binary" });
  const optional = fc.option(text, { nil: undefined });
  const peer = fc.record({ id: text, accessHash: text, username: optional, phone: optional, name: optional });
  await fc.assert(
    fc.asyncProperty(text, fc.uniqueArray(peer, { selector: ({ id }) => id }), async (sessionId, saved) => {
      const peers = encryptedPeerStorage(plainPeers(), aesGcm(KEY));
      const known = saved.map((one): StoredPeer => JSON.parse(JSON.stringify(one)));
      await peers.save(sessionId, known);
      expect(await peers.load(sessionId)).toEqual(known);
    }),
  );
});

test("save() and load() - distinguish session and peer ids that concatenate to the same text", async () => {
  const places = ["a", "a,1", '"', '","', "\0", "\ud800", ""].flatMap((session) =>
    ["1", ",1", '"', '","', "\0", "\ud800", ""].map((id) => [session, id] as const),
  );
  const bound = new Set<string>();
  const sealer: Sealer = {
    seal(id, text) {
      bound.add(id);
      return text;
    },
    open: (_, sealed) => sealed,
  };
  const peers = encryptedPeerStorage(plainPeers(), sealer);
  for (const [session, id] of places) await peers.save(session, [{ id, accessHash: "1" }]);
  expect(bound.size).toBe(places.length);
  // No session may have an id that starts so, and so no record is sealed for the same place as a peer.
  expect([...bound].every((id) => id.startsWith("~key:"))).toBe(true);
});

test("load() - a synchronous sealer and 10,000 peers - no promise for each of them", async () => {
  const many = Array.from({ length: 10_000 }, (_, index): StoredPeer => ({ ...ALICE, id: `${index}` }));
  const rows = many.map(({ id }) => ({ id, accessHash: "sealed" }));
  const plain: PeerStorage = { load: async () => rows, save: async () => {}, clear: async () => {} };
  const peers = encryptedPeerStorage(plain, { seal: () => "sealed", open: () => '{"accessHash":"1"}' });
  let promises = 0;
  const hook = createHook({ init: (_, type) => void (type === "PROMISE" && promises++) }).enable();
  await Promise.all([peers.save("a", many), peers.load("a")]);
  hook.disable();
  expect(promises).toBeGreaterThan(0);
  expect(promises).toBeLessThan(100);
});

describe("knowing() of a user's sealer", () => {
  const sealer: Sealer = { seal: (_, text) => `sealed ${text}`, open: (_, sealed) => sealed.slice(7) };

  test("without blindIndexes() - a username is refused, an id is found", async () => {
    const plain = plainPeers();
    const peers = encryptedPeerStorage(plain, sealer);
    await peers.save("a", [ALICE]);
    expect((await plain.load("a")).map((row) => Object.keys(row))).toEqual([["id", "accessHash"]]);
    await expect(peers.knowing?.("username", ["alice"])).rejects.toThrow(
      "knows: the usernames of peers are encrypted, and this encryption has no blindIndexes() to find them by.",
    );
    expect(await peers.knowing?.("id", ["1"])).toEqual(["a"]);
  });

  test.each([[undefined], [[]], [[""]], [["nul \0"]], [[7]], ["text"]])(
    "with blindIndexes() that return %j - rejects, and nothing is written",
    async (indexes) => {
      const plain = plainPeers();
      const peers = encryptedPeerStorage(plain, { ...sealer, blindIndexes: () => indexes as string[] });
      await expect(peers.save("a", [ALICE])).rejects.toThrow("blindIndexes() must return non-empty texts");
      await expect(peers.knowing?.("username", ["alice"])).rejects.toThrow("blindIndexes() must return");
      expect(await plain.load("a")).toEqual([]);
    },
  );

  test("over a storage without knowing() - has none either", () => {
    const { knowing: _, ...without } = plainPeers();
    expect("knowing" in encryptedPeerStorage({ ...without } as PeerStorage, sealer)).toBe(false);
  });
});

describe("blindIndexes()", () => {
  test("of the same text - the same for the same key, the sealing key's first; of others another", async () => {
    const indexesOf = async (sealer: Sealer, text: string) => (await sealer.blindIndexes?.(text)) ?? [];
    const both = await indexesOf(aesGcm([KEY, OLD_KEY]), "alice");
    expect(both).toEqual([...(await indexesOf(aesGcm(KEY), "alice")), ...(await indexesOf(aesGcm(OLD_KEY), "alice"))]);
    expect(new Set([...both, ...(await indexesOf(aesGcm(KEY), "bob"))]).size).toBe(3);
  });
});

describe("arePeersCurrent()", () => {
  const rows = async (sealer: Sealer, ...peers: readonly StoredPeer[]): Promise<readonly StoredPeer[]> => {
    const plain = plainPeers();
    await encryptedPeerStorage(plain, sealer).save("a", peers);
    return plain.load("a");
  };

  test("sealed with the first key, with its blind index - is current", async () => {
    expect(await arePeersCurrent(aesGcm(KEY), "a", await rows(aesGcm(KEY), ALICE, GROUP))).toBe(true);
    expect(await arePeersCurrent(aesGcm([KEY, OLD_KEY]), "a", await rows(aesGcm(OLD_KEY), ALICE))).toBe(false);
  });

  test("sealed before there were blind indexes - is not, unless it has no username", async () => {
    const [alice = ALICE, group = GROUP] = await rows(aesGcm(KEY), ALICE, GROUP);
    const { username: _, ...unnamed } = alice;
    expect(await arePeersCurrent(aesGcm(KEY), "a", [unnamed, group])).toBe(false);
    expect(await arePeersCurrent(aesGcm(KEY), "a", [group])).toBe(true);
  });
});

test("inspect() and JSON - show no key", () => {
  const peers = encryptedPeerStorage(plainPeers(), aesGcm(KEY));
  const seen = inspect(peers, { showHidden: true, depth: 10 }) + JSON.stringify(peers);
  expect(seen).not.toContain(KEY.toString("hex", 0, 6).replaceAll(/(..)(?!$)/g, "$1 "));
  expect(seen).not.toContain(KEY.toString("hex"));
});
