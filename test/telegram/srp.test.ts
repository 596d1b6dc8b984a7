import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  type PasswordAlgorithm,
  PasswordChallenge,
  passwordVerifier,
  provePassword,
  TELEGRAM_PRIME,
} from "../../src/telegram/srp.js";

const algorithm: PasswordAlgorithm = {
  salt1: randomBytes(40),
  salt2: randomBytes(16),
  g: 3,
  p: TELEGRAM_PRIME,
};

async function challenge(password: string): Promise<PasswordChallenge> {
  return new PasswordChallenge(algorithm, await passwordVerifier(password, algorithm));
}

describe("provePassword()", () => {
  test("the right password - is accepted", async () => {
    const server = await challenge("pässword 🔑");
    expect(server.accepts(await provePassword("pässword 🔑", algorithm, server.B))).toBe(true);
  });

  test("another password - is refused", async () => {
    const server = await challenge("right");
    expect(server.accepts(await provePassword("wrong", algorithm, server.B))).toBe(false);
  });

  test("a proof for another challenge - is refused", async () => {
    const [first, second] = [await challenge("right"), await challenge("right")];
    expect(second.accepts(await provePassword("right", algorithm, first.B))).toBe(false);
  });

  test.each([
    ["zero", Buffer.alloc(256)],
    ["the prime itself", TELEGRAM_PRIME],
    ["more than the prime", Buffer.alloc(256, 0xff)],
  ])("the server's half is %s - throws a RangeError", async (_, B) => {
    await expect(provePassword("right", algorithm, B)).rejects.toThrow(RangeError);
  });

  test("the client's half is a multiple of the prime - is refused", async () => {
    const server = await challenge("right");
    expect(server.accepts({ A: TELEGRAM_PRIME, M1: Buffer.alloc(32) })).toBe(false);
    expect(server.accepts({ A: Buffer.alloc(256), M1: Buffer.alloc(32) })).toBe(false);
  });
});
