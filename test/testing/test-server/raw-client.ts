import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { TestServerAccount } from "../../../src/testing/index.js";
import { authKeyIdOf, openPacket, sealPacket } from "../../../src/testing/test-server/crypto.js";
import {
  acknowledgement,
  containerOf,
  type IncomingMessage,
  SERVICE,
  unpackMessages,
  writeMessage,
} from "../../../src/testing/test-server/messages.js";
import { authKeyOfSession } from "../../../src/testing/test-server/session-string.js";
import { TransportDetector } from "../../../src/testing/test-server/transport.js";

interface Address {
  readonly host: string;
  readonly port: number;
}

/** What came in one packet: messages, or the number of a transport error. */
export interface Received {
  readonly messages: readonly IncomingMessage[];
  readonly transportError?: number;
}

const INTERMEDIATE = Buffer.of(0xee, 0xee, 0xee, 0xee);

/** An MTProto client that does nothing by itself: no acknowledgement, no second try. */
export class RawClient implements Disposable {
  /** Resolves when the test server hung up. */
  readonly closed: Promise<void>;
  /** What the client believes the salt to be: 0 at first, as in GramJS. */
  salt = 0n;
  readonly #socket: Socket;
  readonly #transport = new TransportDetector();
  readonly #authKey: Buffer;
  readonly #sessionId = randomBytes(8).readBigInt64LE();
  readonly #received: Received[] = [];
  #arrived: () => void = () => undefined;
  #lastId = BigInt(Math.floor(Date.now() / 1000)) << 32n;

  private constructor(socket: Socket, session: string) {
    this.#socket = socket;
    this.#authKey = authKeyOfSession(session);
    this.#transport.read(INTERMEDIATE);
    this.closed = new Promise((resolve) => socket.once("close", () => resolve()));
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => {
      for (const packet of this.#transport.read(chunk)) this.#received.push(this.#open(packet));
      this.#arrived();
    });
  }

  /** Connects. With `salted` it asks for the salt first, so that whatever it sends next is read. */
  static async connect(to: Address, account: TestServerAccount | undefined, salted = true): Promise<RawClient> {
    const socket = connect(to.port, to.host);
    await once(socket, "connect");
    const client = new RawClient(socket, account?.session ?? "");
    socket.write(INTERMEDIATE);
    if (!salted) return client;
    client.send(request(SERVICE.ping, 8));
    const body = (await client.receive()).messages[0]?.body;
    client.salt = body?.readBigInt64LE(20) ?? 0n;
    return client;
  }

  /** Sends messages in one packet and returns their ids. */
  send(...bodies: readonly Buffer[]): readonly bigint[] {
    const written = bodies.map((body) => this.#write(body));
    const [only] = written;
    const isAlone = written.length === 1 && only !== undefined;
    this.#seal(isAlone ? only.bytes : this.#write(containerOf(written.map(({ bytes }) => bytes))).bytes);
    return written.map(({ id }) => id);
  }

  /** Sends a packet whose message key does not match. */
  sendGarbled(body: Buffer): void {
    this.#seal(this.#write(body).bytes, (packet) => packet.writeUInt8(packet.readUInt8(8) ^ 1, 8));
  }

  acknowledge(...ids: readonly bigint[]): void {
    this.send(acknowledgement(ids));
  }

  /** The next packet. */
  async receive(): Promise<Received> {
    for (;;) {
      const next = this.#received.shift();
      if (next !== undefined) return next;
      await new Promise<void>((resolve) => {
        this.#arrived = resolve;
      });
    }
  }

  /** The answer to a call: whatever comes before it is dropped. */
  async answerTo(id: bigint | undefined): Promise<{ readonly id: bigint; readonly error: string | undefined }> {
    for (;;) {
      const { messages } = await this.receive();
      const found = messages.find(
        ({ body }) => body.readUInt32LE(0) === SERVICE.rpcResult && body.readBigInt64LE(4) === id,
      );
      if (found !== undefined) return { id: found.id, error: errorOf(found.body) };
    }
  }

  /** Sends a call and waits for its answer. */
  call(body: Buffer): Promise<{ readonly id: bigint; readonly error: string | undefined }> {
    return this.answerTo(this.send(body)[0]);
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  #seal(message: Buffer, spoil: (packet: Buffer) => unknown = () => undefined): void {
    const head = Buffer.alloc(16);
    head.writeBigInt64LE(this.salt, 0);
    head.writeBigInt64LE(this.#sessionId, 8);
    const packet = sealPacket(Buffer.concat([head, message]), this.#authKey, authKeyIdOf(this.#authKey), "client");
    spoil(packet);
    this.#socket.write(this.#transport.transport?.frame(packet) ?? packet);
  }

  #write(body: Buffer): { readonly id: bigint; readonly bytes: Buffer } {
    this.#lastId += 4n;
    return { id: this.#lastId, bytes: writeMessage(this.#lastId, 1, body) };
  }

  #open(packet: Buffer): Received {
    if (packet.length === 4) return { messages: [], transportError: packet.readInt32LE(0) };
    const plain = openPacket(packet, this.#authKey, "server");
    if (plain === undefined) throw new Error("The packet cannot be decrypted");
    const body = plain.subarray(32, 32 + plain.readUInt32LE(28));
    return { messages: unpackMessages(plain.readBigInt64LE(16), body) };
  }
}

/** A request of a constructor number and zeroes. */
export function request(constructorId: number, zeroes = 0): Buffer {
  const body = Buffer.alloc(4 + zeroes);
  body.writeUInt32LE(constructorId, 0);
  return body;
}

function errorOf(body: Buffer): string | undefined {
  if (body.readUInt32LE(12) !== SERVICE.rpcError) return undefined;
  return body.subarray(21, 21 + body.readUInt8(20)).toString();
}
