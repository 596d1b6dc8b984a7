/**
 * How many calls the test server serves per second of its own processor time, so that a benchmark of the pool
 * is known not to measure the server.
 *
 *     npx tsx bench/test-server.ts [calls]
 *
 * The server runs in a process of its own; the load is sent by raw connections whose packets are encrypted before the
 * clock starts.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { Api, TelegramClient } from "telegram";
import { Logger, type LogLevel } from "telegram/extensions/Logger.js";
import { StringSession } from "telegram/sessions/index.js";
import { type ForkedTestServer, forkTestServer } from "telegram-session-pool/testing";
import { authKeyIdOf, openPacket, sealPacket } from "../src/testing/test-server/crypto.js";
import { containerOf, writeMessage } from "../src/testing/test-server/messages.js";
import { authKeyOfSession } from "../src/testing/test-server/session-string.js";
import { TransportDetector } from "../src/testing/test-server/transport.js";

const CONNECTIONS = 25;
const OUTSTANDING_PACKETS = 2;
const CALLS = Number(process.argv[2] ?? 40_000);

interface Load {
  readonly name: string;
  readonly callsPerPacket: number;
  request(client: TelegramClient): Promise<Buffer>;
  /** Where in the request its random id is, when it has one. */
  readonly hasRandomId: boolean;
}

/** One connection that sends what it prepared. */
class Sender {
  readonly #socket: Socket;
  readonly #transport = new TransportDetector();
  readonly #authKey: Buffer;
  readonly #authKeyId: Buffer;
  readonly #sessionId = BigInt(Math.floor(Math.random() * 2 ** 48));
  #lastMessageId = BigInt(Math.floor(Date.now() / 1000)) << 32n;
  #salt = 0n;
  #frames: Buffer[] = [];
  #sequence = 0;

  constructor(server: ForkedTestServer, session: string) {
    this.#authKey = authKeyOfSession(session);
    this.#authKeyId = authKeyIdOf(this.#authKey);
    this.#socket = connect(server.port, server.host).setNoDelay(true);
    this.#transport.read(Buffer.of(0xee, 0xee, 0xee, 0xee));
  }

  async open(ping: Buffer): Promise<void> {
    await once(this.#socket, "connect");
    this.#socket.write(Buffer.of(0xee, 0xee, 0xee, 0xee));
    this.#socket.write(this.#seal([ping]));
    const [chunk] = (await once(this.#socket, "data")) as [Buffer];
    const [packet] = this.#transport.read(chunk);
    const plain = packet === undefined ? undefined : openPacket(packet, this.#authKey, "server");
    if (plain === undefined) throw new Error("The test server said nothing");
    this.#salt = plain.readBigInt64LE(52);
  }

  prepare(requests: readonly Buffer[], callsPerPacket: number): void {
    this.#frames = [];
    for (let i = 0; i < requests.length; i += callsPerPacket) {
      this.#frames.push(this.#seal(requests.slice(i, i + callsPerPacket)));
    }
  }

  /** Sends all of it, some packets at a time, and resolves when each was answered. */
  run(): Promise<void> {
    let sent = 0;
    let answered = 0;
    const frames = this.#frames;
    const sendNext = (): void => {
      const frame = frames[sent++];
      if (frame !== undefined) this.#socket.write(frame);
    };
    return new Promise((resolve, reject) => {
      this.#socket.once("close", () => reject(new Error("The test server hung up")));
      this.#socket.on("data", (chunk: Buffer) => {
        for (const _ of this.#transport.read(chunk)) {
          answered += 1;
          sendNext();
        }
        if (answered >= frames.length) resolve();
      });
      for (let i = 0; i < OUTSTANDING_PACKETS; i++) sendNext();
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #write(body: Buffer): Buffer {
    this.#lastMessageId += 4n;
    this.#sequence += 1;
    return writeMessage(this.#lastMessageId, this.#sequence * 2 + 1, body);
  }

  #seal(bodies: readonly Buffer[]): Buffer {
    const messages = bodies.map((body) => this.#write(body));
    const [first] = messages;
    const message = messages.length === 1 && first !== undefined ? first : this.#write(containerOf(messages));
    const head = Buffer.alloc(16);
    head.writeBigInt64LE(this.#salt, 0);
    head.writeBigInt64LE(this.#sessionId, 8);
    const packet = sealPacket(Buffer.concat([head, message]), this.#authKey, this.#authKeyId, "client");
    const length = Buffer.alloc(4);
    length.writeUInt32LE(packet.length, 0);
    return Buffer.concat([length, packet]);
  }
}

async function requestBytes(server: ForkedTestServer, session: string, load: Load): Promise<Buffer> {
  const client = new TelegramClient(new StringSession(session), 1, "x", {
    ...server.clientOptions,
    baseLogger: new Logger("none" as LogLevel),
    connectionRetries: 1,
  });
  Object.assign(client, { _loopStarted: true });
  await client.connect();
  const bytes = await load.request(client);
  await client.destroy();
  return bytes;
}

function withRandomId(request: Buffer, placeholder: Buffer, randomId: bigint): Buffer {
  const copy = Buffer.from(request);
  copy.writeBigInt64LE(randomId, copy.indexOf(placeholder));
  return copy;
}

const RANDOM_ID = 0x5ea1_5ea1_5ea1_5ea1n;
const PLACEHOLDER = Buffer.alloc(8);
PLACEHOLDER.writeBigInt64LE(RANDOM_ID, 0);

const send =
  (to: string): Load["request"] =>
  async (client) =>
    new Api.messages.SendMessage({
      peer: await client.getInputEntity(to),
      message: "Good morning, everybody.",
      randomId: RANDOM_ID as unknown as NonNullable<Api.messages.SendMessage["randomId"]>,
    }).getBytes();

const LOADS: readonly Load[] = [
  { name: "sendMessage to a user, one per packet", callsPerPacket: 1, request: send("user7"), hasRandomId: true },
  { name: "sendMessage to a channel, one per packet", callsPerPacket: 1, request: send("channel7"), hasRandomId: true },
  {
    name: "sendMessage to a channel, ten per packet",
    callsPerPacket: 10,
    request: send("channel7"),
    hasRandomId: true,
  },
  {
    name: "getUsers, one per packet",
    callsPerPacket: 1,
    request: async () => new Api.users.GetUsers({ id: [new Api.InputUserSelf()] }).getBytes(),
    hasRandomId: false,
  },
];

async function measure(server: ForkedTestServer, load: Load): Promise<void> {
  const ping = Buffer.alloc(12);
  ping.writeUInt32LE(0x7abe77ec, 0);
  const perConnection = Math.ceil(CALLS / CONNECTIONS / load.callsPerPacket) * load.callsPerPacket;
  const senders: Sender[] = [];
  let randomId = BigInt(Math.floor(Math.random() * 2 ** 40)) << 20n;
  for (const session of server.sessions) {
    const request = await requestBytes(server, session, load);
    const sender = new Sender(server, session);
    await sender.open(ping);
    const requests = Array.from({ length: perConnection }, () =>
      load.hasRandomId ? withRandomId(request, PLACEHOLDER, ++randomId) : request,
    );
    sender.prepare(requests, load.callsPerPacket);
    senders.push(sender);
  }
  const before = await server.processorTime();
  const startedAt = performance.now();
  await Promise.all(senders.map((sender) => sender.run()));
  const wallSeconds = (performance.now() - startedAt) / 1000;
  const after = await server.processorTime();
  const busySeconds = (after.userMs + after.systemMs - before.userMs - before.systemMs) / 1000;
  const calls = perConnection * CONNECTIONS;
  const perSecond = Math.round(calls / wallSeconds);
  const perBusySecond = Math.round(calls / busySeconds);
  console.log(`${load.name}: ${perSecond} calls/s, ${perBusySecond} calls per processor second`);
  for (const sender of senders) sender.close();
}

await using server = await forkTestServer({ accounts: CONNECTIONS, record: 1_000 });
for (const load of LOADS) await measure(server, load);
