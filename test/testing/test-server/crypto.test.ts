import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { IGE } from "telegram/crypto/IGE.js";
import { describe, expect, test } from "vitest";
import { decryptIge, encryptIge, openPacket, sealPacket } from "../../../src/testing/test-server/crypto.js";

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const blocks = fc
  .uint8Array({ minLength: 16, maxLength: 1_024 })
  .map((array) => Buffer.from(array.subarray(0, array.length - (array.length % 16))));
const key = bytes(32).map((array) => Buffer.from(array));

describe("encryptIge()", () => {
  test("any blocks - equals the library's", () => {
    fc.assert(
      fc.property(blocks, key, key, (plain, secret, iv) => {
        const theirs = Buffer.from(new IGE(secret, iv).encryptIge(plain));
        expect(encryptIge(plain, secret, iv).equals(theirs)).toBe(true);
      }),
    );
  });
});

describe("decryptIge()", () => {
  test("any blocks - equals the library's", () => {
    fc.assert(
      fc.property(blocks, key, key, (encrypted, secret, iv) => {
        const theirs = Buffer.from(new IGE(secret, iv).decryptIge(encrypted));
        expect(decryptIge(encrypted, secret, iv).equals(theirs)).toBe(true);
      }),
    );
  });

  test("a slice at an odd offset - is read all the same", () => {
    const [secret, iv, plain] = [randomBytes(32), randomBytes(32), randomBytes(160)];
    const shifted = Buffer.concat([Buffer.alloc(3), encryptIge(plain, secret, iv)]).subarray(3);
    expect(decryptIge(shifted, secret, iv).equals(plain)).toBe(true);
  });
});

describe("openPacket()", () => {
  const authKey = randomBytes(256);
  const authKeyId = randomBytes(8);

  test("what sealPacket() made - begins with the plaintext", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 600 }), (plain) => {
        const packet = sealPacket(plain, authKey, authKeyId, "client");
        expect(openPacket(packet, authKey)?.subarray(0, plain.length).equals(plain)).toBe(true);
      }),
    );
  });

  test("a changed byte - is refused", () => {
    const packet = sealPacket(randomBytes(64), authKey, authKeyId, "client");
    packet[40] = (packet[40] ?? 0) ^ 1;
    expect(openPacket(packet, authKey)).toBeUndefined();
  });

  test("a packet of the other direction - is refused", () => {
    expect(openPacket(sealPacket(randomBytes(64), authKey, authKeyId, "server"), authKey)).toBeUndefined();
  });
});
