import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { describe, expect, test } from "vitest";
import { rsaFingerprint, rsaNumbers } from "../../src/telegram/rsa-key.js";

describe("rsaFingerprint()", () => {
  test("a key of Telegram's - is the fingerprint that the library has for it", async () => {
    const { _serverKeys } = await import("telegram/crypto/RSA.js");
    for (const [fingerprint, { n, e }] of _serverKeys) {
      const hex = n.toString(16);
      const modulus = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, "hex").toString("base64url");
      const jwk = {
        kty: "RSA",
        n: modulus,
        e: Buffer.from(e.toString(16).padStart(6, "0"), "hex").toString("base64url"),
      };
      expect(String(rsaFingerprint(createPublicKey({ key: jwk, format: "jwk" })))).toBe(fingerprint);
    }
  });

  test("SPKI and PKCS#1 of one key - are the same", () => {
    const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const spki = publicKey.export({ type: "spki", format: "pem" }).toString();
    const pkcs1 = publicKey.export({ type: "pkcs1", format: "pem" }).toString();
    expect(rsaFingerprint(spki)).toBe(rsaFingerprint(pkcs1));
    expect(rsaNumbers(spki).modulus).toHaveLength(256);
  });

  test("a text that is no key, or another kind's - throws a TypeError", () => {
    const { publicKey } = generateKeyPairSync("ed25519");
    expect(() => rsaFingerprint("nothing")).toThrow(TypeError);
    expect(() => rsaFingerprint(publicKey.export({ type: "spki", format: "pem" }).toString())).toThrow(TypeError);
  });
});
