import { createCipheriv, createSecretKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { inspect } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type AesKey, aesGcm, isSealedText, type Sealer } from "../../src/encryption/sealer.js";
import { OptionsError, StorageCorruptError } from "../../src/errors.js";

const KEY = randomBytes(32);
const OTHER = randomBytes(32);
const CANARY = "canary-StringSession";

const bodyOf = (sealed: string): Buffer => Buffer.from(sealed.split(".")[2] ?? "", "base64url");
const withBody = (sealed: string, body: Uint8Array): string =>
  `${sealed.slice(0, sealed.lastIndexOf("."))}.${Buffer.from(body).toString("base64url")}`;
const sealedBy = (key: AesKey, id = "a", text = CANARY): string => String(aesGcm(key).seal(id, text));
const keyIdOf = (sealed: string): string => sealed.split(".")[1] ?? "";

function failureOf(work: () => unknown): Error {
  try {
    work();
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error("It did not fail.");
}

function expectNoSecret(value: unknown): void {
  const seen = [inspect(value, { showHidden: true, depth: 10, getters: true }), JSON.stringify(value), String(value)];
  for (const secret of [CANARY, KEY.toString("hex"), KEY.toString("base64"), KEY.toString("base64url")]) {
    expect(seen.join("\n")).not.toContain(secret);
  }
  // As inspect() prints bytes.
  expect(seen.join("\n")).not.toContain(KEY.toString("hex", 0, 6).replaceAll(/(..)(?!$)/g, "$1 "));
  expect(seen.join("\n")).not.toContain([...KEY.subarray(0, 6)].join(", "));
}

describe("seal()", () => {
  test("any id and text - open() returns the text, and the sealed form does not show it", () => {
    const sealer = aesGcm(KEY);
    const text = fc.string({ unit: "binary" });
    fc.assert(
      fc.property(text, text, (id, plain) => {
        const sealed = String(sealer.seal(id, plain));
        expect(sealed).toMatch(/^sp1\.[0-9a-f]{8}\.[\w-]+$/);
        expect(sealer.open(id, sealed)).toBe(plain);
      }),
    );
  });

  test.each(["", "\0", "a\0b", "👩‍👩‍👧", "\u{10ffff}", "ü", "sp1.", "."])("id and text %j - come back", (text) => {
    const sealer = aesGcm(KEY);
    expect(sealer.open(text, String(sealer.seal(text, text)))).toBe(text);
  });

  test("1,000 times the same - no initialisation vector repeats", () => {
    const sealer = aesGcm(KEY);
    const vectors = Array.from({ length: 1_000 }, () =>
      bodyOf(String(sealer.seal("a", CANARY)))
        .subarray(0, 12)
        .toString("hex"),
    );
    expect(new Set(vectors).size).toBe(1_000);
  });

  test("half of a surrogate pair - is refused, for UTF-8 would change it", () => {
    const failure = failureOf(() => aesGcm(KEY).seal("a", `${CANARY}\ud800`));
    expect(failure).toBeInstanceOf(OptionsError);
    expectNoSecret(failure);
  });
});

describe("open()", () => {
  const sealed = sealedBy(KEY, "a", "hi");

  function expectRefused(sealer: Sealer, id: string, text: string, reason: string | RegExp): void {
    const failure = failureOf(() => sealer.open(id, text));
    expect(failure).toBeInstanceOf(StorageCorruptError);
    expect(failure.message).toMatch(reason);
    expectNoSecret(failure);
  }

  test.each(["", "h", "hi"])(
    "any bit of a sealed %j flipped - is refused, whatever bits its last character has to spare",
    (text) => {
      const sealer = aesGcm(KEY);
      const bytes = Buffer.from(sealedBy(KEY, "a", text), "latin1");
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const changed = Buffer.from(bytes);
        changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
        expect(() => sealer.open("a", changed.toString("latin1"))).toThrow(StorageCorruptError);
      }
    },
  );

  test("any flipped bit - is refused", () => {
    const body = bodyOf(sealed);
    for (let bit = 0; bit < body.length * 8; bit++) {
      const changed = Buffer.from(body);
      changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      expectRefused(aesGcm(KEY), "a", withBody(sealed, changed), "was damaged");
    }
  });

  test("cut off anywhere, or with something behind it - is refused", () => {
    for (let length = 0; length < sealed.length; length++) {
      expect(() => aesGcm(KEY).open("a", sealed.slice(0, length))).toThrow(StorageCorruptError);
    }
    for (const more of ["A", "AAAA", "=", "==", "\n", " ", ".", "\0"])
      expectRefused(aesGcm(KEY), "a", sealed + more, "dam");
  });

  test.each([4, 8, 12, 13, 14, 15])("a right tag of only %i bytes - is refused", (authTagLength) => {
    const iv = randomBytes(12);
    for (const text of ["", "hi", CANARY]) {
      const cipher = createCipheriv("aes-256-gcm", KEY, iv, { authTagLength });
      cipher.setAAD(Buffer.from(JSON.stringify(["sp1", keyIdOf(sealed), "a"])));
      const ciphertext = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
      const forged = Buffer.concat([iv, cipher.getAuthTag(), ciphertext]);
      expectRefused(aesGcm(KEY), "a", withBody(sealed, forged), "damaged");
    }
  });

  test("a text sealed as documented elsewhere - opens", () => {
    const iv = randomBytes(12);
    const cipher = createCipheriv("aes-256-gcm", KEY, iv, { authTagLength: 16 });
    cipher.setAAD(Buffer.from(JSON.stringify(["sp1", keyIdOf(sealed), "a"])));
    const ciphertext = Buffer.concat([cipher.update(CANARY, "utf8"), cipher.final()]);
    expect(aesGcm(KEY).open("a", withBody(sealed, Buffer.concat([iv, cipher.getAuthTag(), ciphertext])))).toBe(CANARY);
  });

  test("two records swapped - both are refused", () => {
    const sealer = aesGcm(KEY);
    const [one, two] = [sealedBy(KEY, "a", CANARY), sealedBy(KEY, "b", CANARY)];
    expectRefused(sealer, "a", two, "moved here from another record");
    expectRefused(sealer, "b", one, "moved here from another record");
  });

  test("ids that concatenate to the same text - are distinguished", () => {
    const ids = ["", "a", "a\0", "a|", "A", '"a"', '","a', "\ud800", "\udc00", "\ufffd", "e\u0301", "\u00e9"];
    for (const from of ids) {
      for (const to of ids.filter((id) => id !== from)) {
        expect(() => aesGcm(KEY).open(to, sealedBy(KEY, from))).toThrow(StorageCorruptError);
      }
    }
  });

  test("sealed with another key - is refused, and its key named", () => {
    expectRefused(aesGcm(OTHER), "a", sealed, `key ${keyIdOf(sealed)}, which is missing from the list`);
  });

  test("the id of the other key in the header - is refused", () => {
    const forged = sealed.replace(keyIdOf(sealed), keyIdOf(sealedBy(OTHER)));
    expectRefused(aesGcm([KEY, OTHER]), "a", forged, "was damaged");
  });

  test.each(["", CANARY, "{}", "SP1.", "sp2.0", " sp1.", `{"session":"${CANARY}"}`])(
    "%j - is refused as not sealed",
    (text) => {
      expectRefused(aesGcm(KEY), "a", text, /not sealed.*allowPlaintext: true/);
    },
  );

  test.each([
    "sp1.",
    "sp1..",
    `sp1.${CANARY}`,
    `sp1.${CANARY}.AAAA`,
    "sp1.ABCDEF01.AAAA",
    "sp1.0.AAAA",
    `sp1.00000000.${CANARY}!`,
  ])("%j - is refused, also with allowPlaintext", (text) => {
    expectRefused(aesGcm(KEY), "a", text, "damaged");
    expectRefused(aesGcm(KEY, { allowPlaintext: true }), "a", text, "damaged");
  });

  test("with allowPlaintext - text without a header is returned, text with one is opened strictly", () => {
    const sealer = aesGcm(KEY, { allowPlaintext: true });
    for (const text of ["", "{}", CANARY, "sp2."]) expect(sealer.open("a", text)).toBe(text);
    expect(sealer.open("a", sealed)).toBe("hi");
    expectRefused(sealer, "b", sealed, "moved");
    expectRefused(sealer, "a", sealedBy(OTHER), "missing");
  });
});

describe("aesGcm()", () => {
  test("the same key in any form - opens what the others sealed", () => {
    const forms: readonly AesKey[] = [
      KEY,
      new Uint8Array(KEY),
      KEY.toString("hex"),
      KEY.toString("hex").toUpperCase(),
      KEY.toString("base64"),
      KEY.toString("base64").replace("=", ""),
      KEY.toString("base64url"),
      `${KEY.toString("base64url")}=`,
      `${KEY.toString("base64")}\n`,
      createSecretKey(KEY),
    ];
    for (const one of forms) {
      for (const other of forms) expect(aesGcm(other).open("a", sealedBy(one))).toBe(CANARY);
    }
  });

  test("any 32 bytes - are a key as hex, base64 and base64url", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes) => {
        for (const encoding of ["hex", "base64", "base64url"] as const) {
          expect(aesGcm(bytes).open("a", sealedBy(Buffer.from(bytes).toString(encoding)))).toBe(CANARY);
        }
      }),
    );
  });

  test("several keys - the first seals, each opens", () => {
    const [before, after] = [sealedBy(OTHER), sealedBy(KEY)];
    const sealer = aesGcm([KEY, OTHER]);
    expect([sealer.open("a", before), sealer.open("a", after)]).toEqual([CANARY, CANARY]);
    expect(keyIdOf(String(sealer.seal("a", "x")))).toBe(keyIdOf(after));
    expect(aesGcm(KEY).open("a", String(sealer.seal("a", "x")))).toBe("x");
  });

  test("a buffer that is wiped afterwards, or a list that is emptied - changes nothing", () => {
    const buffer = Buffer.from(KEY);
    const keys = [buffer];
    const sealer = aesGcm(keys);
    buffer.fill(0);
    keys.length = 0;
    expect(sealer.open("a", sealedBy(KEY))).toBe(CANARY);
    expect(aesGcm(KEY).open("a", String(sealer.seal("a", "x")))).toBe("x");
  });

  test.each<[string, unknown, string]>([
    ["nothing", undefined, "got undefined"],
    ["no key at all", [], "got an empty list"],
    ["a passphrase", `${CANARY} correct horse`, "got a string of 34 characters. A passphrase is not a key"],
    ["a passphrase of 32 characters", CANARY.padEnd(32, "x"), "got a string of 32 characters"],
    ["a passphrase of 44 characters", `${CANARY} `.padEnd(43, "é"), "got a string of 43 characters"],
    ["an empty text", "", "got an empty string"],
    ["hex of 31 bytes", KEY.toString("hex", 1), "got a string of 62 characters"],
    ["base64 of 33 bytes", Buffer.concat([KEY, KEY]).toString("base64", 0, 33), "got a string of 44 characters"],
    ["base64 in both alphabets", `+_${"A".repeat(41)}`, "got a string of 43 characters"],
    ["base64 with bits to spare", `${"A".repeat(42)}B`, "got a string of 43 characters"],
    ["31 bytes", KEY.subarray(1), "got 31 bytes"],
    ["33 bytes", Buffer.concat([KEY, KEY]).subarray(0, 33), "got 33 bytes"],
    ["an ArrayBuffer", new ArrayBuffer(32), "got an object"],
    ["a number", 123456789, "got a number"],
    ["null", null, "got null"],
    ["an object", { key: CANARY }, "got an object"],
    ["a secret KeyObject of 16 bytes", createSecretKey(KEY.subarray(16)), "got a secret KeyObject of 16 bytes"],
    ["a public KeyObject", generateKeyPairSync("ed25519").publicKey, "got a public KeyObject"],
    ["a private KeyObject", generateKeyPairSync("ed25519").privateKey, "got a private KeyObject"],
    ["one bad key of two", [KEY, CANARY], "key 2 of 2"],
    ["a list in a list", [[KEY]], "got an array"],
  ])("%s - is refused with how to make a key, and not repeated", (_, keys, got) => {
    const failure = failureOf(() => aesGcm(keys as AesKey));
    expect(failure).toBeInstanceOf(OptionsError);
    expect(failure.message).toContain(got);
    expect(failure.message).toContain("openssl rand -base64 32");
    expect(failure.message).not.toContain("123456789");
    expectNoSecret(failure);
  });

  test("one key twice - is refused, and not repeated", () => {
    const failure = failureOf(() => aesGcm([KEY, OTHER, KEY.toString("hex")]));
    expect(failure).toBeInstanceOf(OptionsError);
    expect(failure.message).toContain("keys 1 and 3 are the same");
    expectNoSecret(failure);
  });

  test.each([{ allowPlaintext: "yes" }, { allowPlainText: true }, null, true])(
    "options %j - are refused",
    (options) => {
      expect(() => aesGcm(KEY, options as { allowPlaintext?: boolean })).toThrow(OptionsError);
    },
  );

  test("inspect() and JSON - show no key", () => {
    for (const sealer of [aesGcm(KEY), aesGcm([OTHER, createSecretKey(KEY)])]) {
      expectNoSecret(sealer);
      expect(JSON.stringify(sealer)).toBe("{}");
      expect(Reflect.ownKeys(sealer)).toEqual([]);
    }
  });
});

describe("isFresh()", () => {
  test("sealed with the first key or not - says so", () => {
    const [before, after] = [sealedBy(OTHER), sealedBy(KEY)];
    const sealer = aesGcm([KEY, OTHER], { allowPlaintext: true });
    expect([after, before, "plain", "", "sp1.", CANARY].map((text) => sealer.isCurrent?.(text))).toEqual([
      true,
      false,
      false,
      false,
      false,
      false,
    ]);
  });
});

describe("isSealedText()", () => {
  test("with and without the header - says so", () => {
    expect([sealedBy(KEY), "sp1.", "{}", "", "xsp1.", "SP1."].map(isSealedText)).toEqual([
      true,
      true,
      false,
      false,
      false,
      false,
    ]);
  });
});
