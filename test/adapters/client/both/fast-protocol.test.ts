import fc from "fast-check";
import type { Api as ApiTypes } from "telegram";
import type { LogLevel } from "telegram/extensions/Logger.js";
import { describe, expect, test } from "vitest";
import { fastReaderClass, quicken } from "../../../../adapters/client/mtproto/fast-protocol.js";
import type { ProtocolState } from "../../../../adapters/client/mtproto/library.js";
import { authKeyIdOf, openPacket, sealPacket } from "../../../../src/testing/data-centre/crypto.js";
import {
  Api,
  AuthKey,
  BinaryReader,
  BinaryWriter,
  Logger,
  loadUnderTest,
  MTProtoState,
} from "../../../matrix/telegram.js";

const library = await loadUnderTest();
const Reader = fastReaderClass(library);
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

/** GramJS's own state and the quickened one, on the same key, salt and session. */
async function both(key: Uint8Array, salt: Uint8Array): Promise<readonly [ProtocolState, ProtocolState]> {
  const authKey = new AuthKey();
  await authKey.setKey(Buffer.from(key));
  const make = (): ProtocolState => {
    const state = new MTProtoState(authKey, new Logger("none" as LogLevel), false);
    Object.assign(state, {
      salt: new BinaryReader(Buffer.from(salt)).readLong(),
      id: library.helpers.returnBigInt(7n),
    });
    return state as unknown as ProtocolState;
  };
  const quick = make();
  quicken(library, Reader, quick);
  return [make(), quick];
}

test("readLong() - the same number as GramJS's own reader, signed and not", () => {
  fc.assert(
    fc.property(bytes(8), fc.boolean(), (data, isSigned) => {
      const own = new BinaryReader(Buffer.from(data)).readLong(isSigned);
      const quick = new Reader(Buffer.from(data)).readLong(isSigned);
      expect([quick.toString(), own.equals(quick as typeof own), quick.constructor]).toEqual([
        own.toString(),
        true,
        own.constructor,
      ]);
    }),
  );
});

describe("quicken()", () => {
  test("writeDataAsMessage() - byte for byte as GramJS writes it", async () => {
    const run = fc.asyncProperty(
      bytes(256),
      fc.uint8Array({ maxLength: 700 }),
      fc.boolean(),
      async (key, data, isContent) => {
        const written = await Promise.all(
          (await both(key, key.subarray(0, 8))).map(async (state) => {
            const messageId = library.helpers.returnBigInt(7_400_000_000_000_000_004n);
            state._getNewMsgId = () => messageId;
            const writer = new BinaryWriter(Buffer.alloc(0));
            const padded = Buffer.from(data.subarray(0, data.length - (data.length % 4)));
            await state.writeDataAsMessage(writer, padded, isContent);
            return writer.getValue().toString("hex");
          }),
        );
        expect(written[1]).toBe(written[0]);
      },
    );
    await fc.assert(run, { numRuns: 50 });
  });

  test("decryptMessageData() - each reads what a server seals, a forged message is refused", async () => {
    const key = Buffer.from(Array.from({ length: 256 }, (_, index) => (index * 7 + 3) % 256));
    const [own, quick] = await both(key, Buffer.alloc(8, 1));
    const pong = new Api.Pong({
      msgId: library.helpers.returnBigInt(-5n) as ApiTypes.long,
      pingId: library.helpers.returnBigInt(2n ** 62n) as ApiTypes.long,
    }).getBytes();
    const head = Buffer.alloc(32);
    head.writeBigInt64LE(6_800_000_000_000_000_001n, 16);
    head.writeInt32LE(3, 24);
    head.writeInt32LE(pong.length, 28);
    const packet = sealPacket(Buffer.concat([head, pong]), key, authKeyIdOf(key));
    const [first, second] = await Promise.all([own.decryptMessageData(packet), quick.decryptMessageData(packet)]);
    expect(JSON.stringify(second)).toBe(JSON.stringify(first));
    packet[packet.length - 1] = (packet[packet.length - 1] ?? 0) ^ 1;
    await expect(quick.decryptMessageData(packet)).rejects.toThrow(/msg_key/);
    await expect(quick.decryptMessageData(Buffer.from([0x6c, 0xfe, 0xff, 0xff]))).rejects.toThrow();
  });

  test("encryptMessageData() - a server opens it, and finds salt, session and message", async () => {
    const run = fc.asyncProperty(bytes(256), bytes(8), fc.integer({ min: 8, max: 40 }), async (key, salt, words) => {
      const [, quick] = await both(key, salt);
      const data = Buffer.alloc(words * 4, 0xab);
      const plain = openPacket(await quick.encryptMessageData(data), Buffer.from(key));
      expect(plain?.subarray(0, 8).equals(salt)).toBe(true);
      expect(plain?.readBigInt64LE(8)).toBe(7n);
      expect(plain?.subarray(16, 16 + data.length).equals(data)).toBe(true);
      expect((plain?.length ?? 0) - 16 - data.length).toBeGreaterThanOrEqual(12);
    });
    await fc.assert(run, { numRuns: 50 });
  });
});
