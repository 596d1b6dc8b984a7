import { gzipSync } from "node:zlib";
import fc from "fast-check";
import type { Api as ApiTypes } from "telegram";
import type { LogLevel } from "telegram/extensions/Logger.js";
import { describe, expect, test } from "vitest";
import type { ProtocolState } from "../../../../adapters/client/mtproto/library.js";
import { nativeReaderClass, PacketCodec } from "../../../../adapters/client/mtproto/packet-codec.js";
import { authKeyIdOf, openPacket, sealPacket } from "../../../../src/testing/test-server/crypto.js";
import {
  Api,
  AuthKey,
  BinaryReader,
  BinaryWriter,
  Logger,
  loadUnderTest,
  MTProtoState,
} from "../../../fakes/client-library.js";

const library = await loadUnderTest();
const Reader = nativeReaderClass(library);
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
  new PacketCodec(library, Reader, quick);
  return [make(), quick];
}

test("readLong() - the same number as GramJS's own reader, signed and not", () => {
  fc.assert(
    fc.property(bytes(8), fc.boolean(), (data, isSigned) => {
      const own = new BinaryReader(Buffer.from(data)).readLong(isSigned);
      const quick = new Reader(Buffer.from(data)).readLong(isSigned);
      expect({
        text: quick.toString(),
        isEqual: own.equals(quick as typeof own),
        constructor: quick.constructor,
      }).toEqual({ text: own.toString(), isEqual: true, constructor: own.constructor });
    }),
  );
});

describe("PacketCodec", () => {
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
    head.writeBigInt64LE(7n, 8);
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

describe("decryptMessageData() - accepted messages", () => {
  const KEY = Buffer.from(Array.from({ length: 256 }, (_, index) => (index * 7 + 3) % 256));
  const SECONDS = 1_700_000_000n;
  const idAt = (seconds: bigint, number = 0n): bigint => (seconds << 32n) + number * 4n + 1n;
  const ping = new Api.Ping({ pingId: 1n } as never).getBytes();
  const int = (value: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(value);
    return bytes;
  };
  const long = (value: bigint): Buffer => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(value);
    return bytes;
  };
  const inner = (id: bigint, body: Buffer): Buffer => Buffer.concat([long(id), int(1), int(body.length), body]);
  const containerOf = (...messages: readonly Buffer[]): Buffer =>
    Buffer.concat([Buffer.from("dcf8f173", "hex"), int(messages.length), ...messages]);
  const seal = (change: { id?: bigint; session?: bigint; body?: Buffer; length?: number } = {}): Buffer => {
    const { id = idAt(SECONDS), session = 7n, body = ping, length = body.length } = change;
    const plain = Buffer.concat([long(0n), long(session), long(id), int(1), int(length), body]);
    return sealPacket(plain, KEY, authKeyIdOf(KEY));
  };
  interface Read {
    readonly msgId: unknown;
    readonly obj: { readonly className: string; readonly messages?: readonly Read[] };
  }
  const fresh = async () => {
    const [, quick] = await both(KEY, Buffer.alloc(8));
    return async (packet: Buffer): Promise<Read> => (await quick.decryptMessageData(packet)) as Read;
  };
  const refusesAll = async (packets: readonly Buffer[]): Promise<void> => {
    const read = await fresh();
    await read(seal());
    for (const packet of packets) await expect(read(packet)).rejects.toBeInstanceOf(library.errors.SecurityError);
  };

  test("another session, an even id, a wrong length, another key, a changed byte - SecurityError", async () => {
    const changed = seal({ id: idAt(SECONDS, 1n) });
    changed[60] = (changed[60] ?? 0) ^ 1;
    const short = seal({ id: idAt(SECONDS, 2n) });
    await refusesAll([
      seal({ session: 8n, id: idAt(SECONDS, 3n) }),
      seal({ id: idAt(SECONDS, 4n) + 1n }),
      ...[ping.length + 12, ping.length + 400, -4, 0, 3].map((length, index) =>
        seal({ id: idAt(SECONDS, 5n + BigInt(index)), length }),
      ),
      seal({ id: idAt(SECONDS, 10n), body: Buffer.alloc(2_000, 1), length: 8 }),
      Buffer.concat([Buffer.alloc(8, 9), seal().subarray(8)]),
      changed,
      short.subarray(0, 24),
      short.subarray(0, short.length - 4),
      short.subarray(0, short.length - 16),
      Buffer.alloc(8),
    ]);
  });

  test("more than 300 s behind or 30 s ahead of the server's time - SecurityError", async () => {
    await refusesAll([seal({ id: idAt(SECONDS - 302n) }), seal({ id: idAt(SECONDS + 40n) })]);
    const read = await fresh();
    await read(seal());
    for (const seconds of [-298n, 28n, 56n]) {
      expect((await read(seal({ id: idAt(SECONDS + seconds) }))).obj.className).toBe("Ping");
    }
  });

  test("the same message a second time - is acknowledged and not processed", async () => {
    const read = await fresh();
    const packet = seal();
    expect((await read(packet)).obj.className).toBe("Ping");
    const again = await read(packet);
    expect({ messageId: String(again.msgId), className: again.obj.className }).toEqual({
      messageId: String(idAt(SECONDS)),
      className: "unreadable",
    });
  });

  test("a repeated message that is more than 1,000 messages old - is not processed either", async () => {
    const read = await fresh();
    for (let number = 0n; number < 1_100n; number++) await read(seal({ id: idAt(SECONDS, number) }));
    for (const number of [0n, 50n, 1_099n]) {
      expect((await read(seal({ id: idAt(SECONDS, number) }))).obj.className).toBe("unreadable");
    }
  });

  test("a container - an unreadable or repeated part loses nothing behind it", async () => {
    const read = await fresh();
    await read(seal({ id: idAt(SECONDS, 1n) }));
    const body = containerOf(
      inner(idAt(SECONDS, 2n), ping),
      inner(idAt(SECONDS, 3n), Buffer.from("efbeadde", "hex")),
      inner(idAt(SECONDS, 1n), ping),
      inner(idAt(SECONDS, 4n), ping),
    );
    const { obj } = await read(seal({ id: idAt(SECONDS, 9n), body }));
    expect(obj.messages?.map((message) => message.obj.className)).toEqual(["Ping", "unreadable", "unreadable", "Ping"]);
  });

  test("a container with impossible lengths and counts - is read up to the first of them", async () => {
    const read = await fresh();
    const lying = containerOf(inner(idAt(SECONDS, 2n), ping), inner(idAt(SECONDS, 3n), ping));
    lying.writeInt32LE(2 ** 31 - 1, 4);
    lying.writeInt32LE(-ping.length - 16, 8 + 16 + ping.length + 12);
    const { obj } = await read(seal({ body: lying }));
    expect(obj.messages).toHaveLength(1);
  });

  const bytesOf = (data: Buffer): Buffer => {
    const head = Buffer.alloc(4);
    head.writeUInt32LE(data.length * 256 + 254, 0);
    return Buffer.concat([head, data, Buffer.alloc((4 - (data.length % 4)) % 4)]);
  };
  const packedOf = (data: Buffer): Buffer => Buffer.concat([Buffer.from("a1cf7230", "hex"), bytesOf(data)]);

  test("a gzipped message - is unpacked; no archive, or one larger than a packet may be, is unreadable", async () => {
    const read = await fresh();
    const result = (body: Buffer): Buffer => Buffer.concat([Buffer.from("016d5cf3", "hex"), long(5n), body]);
    const bomb = packedOf(gzipSync(Buffer.alloc(40 * 1_024 * 1_024)));
    const seen: object[] = [];
    for (const [index, body] of [packedOf(gzipSync(ping)), bomb, packedOf(ping)].entries()) {
      seen.push((await read(seal({ id: idAt(SECONDS, BigInt(2 * index)), body }))).obj);
      seen.push((await read(seal({ id: idAt(SECONDS, BigInt(2 * index + 1)), body: result(body) }))).obj);
    }
    const failed = { reqMsgId: expect.anything(), unreadable: expect.any(Error) };
    expect(seen).toMatchObject([
      { className: "Ping" },
      { body: ping },
      { className: "unreadable" },
      failed,
      { className: "unreadable" },
      failed,
    ]);
  });
});
