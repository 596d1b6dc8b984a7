import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer, Socket } from "node:net";
import { Duplex } from "node:stream";
import { onTestFinished } from "vitest";

/**
 * A proxy that notes where it was asked to connect to. It speaks SOCKS5, SOCKS4 and HTTP CONNECT and wants a login (of SOCKS4
 * the user name alone); or it is an MTProto proxy.
 */
export interface RecordingProxy {
  readonly port: number;
  /** What it connected to, as it was asked: `host:port`. */
  readonly asked: readonly string[];
  /** Whether a socket is its own one, towards a destination. */
  isOwn(socket: unknown): boolean;
  /** How many logins were wrong. */
  readonly refused: number;
  /** Stops listening, and cuts every tunnel. */
  close(): Promise<void>;
}

export const LOGIN = { username: "proxy-user", password: "canary-proxy-password" } as const;

/** What makes it an MTProto proxy. */
export interface MtprotoProxy {
  readonly secret: Buffer;
  /** Whether it looks like a TLS server from outside. */
  readonly isFakeTls: boolean;
  portOf(dcId: number): number;
}

interface Request {
  readonly host: string;
  readonly port: number;
  readonly granted: Buffer;
  /** What is sent to the destination first. */
  readonly first?: Buffer;
  /** What the bytes on the way there and on the way back go through. */
  readonly there?: Duplex;
  readonly back?: Duplex;
}

/** Listens on the loopback interface; gone when the test is over. */
export async function startRecordingProxy(mtproto?: MtprotoProxy): Promise<RecordingProxy> {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const own = new Set<unknown>();
  let refused = 0;
  const open = async (socket: Socket): Promise<void> => {
    const client = mtproto?.isFakeTls === true ? await fakeTls(socket, mtproto.secret) : socket;
    const request = await requestOf(client, mtproto);
    if (request === undefined) {
      refused++;
      socket.destroy();
      return;
    }
    asked.push(`${request.host}:${request.port}`);
    const beyond = connectAsOwn(request, own);
    sockets.add(beyond);
    for (const [end, other] of [[client, beyond] as const, [beyond, client] as const]) {
      end.on("error", () => {}).on("close", () => other.destroy());
    }
    await once(beyond, "connect");
    client.write(request.granted);
    if (request.first !== undefined) beyond.write(request.first);
    (request.there === undefined ? client : client.pipe(request.there)).pipe(beyond);
    (request.back === undefined ? beyond : beyond.pipe(request.back)).pipe(client);
  };
  const server = createServer((client) => {
    sockets.add(client.on("error", () => {}));
    open(client).catch(() => client.destroy());
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const close = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  };
  onTestFinished(close);
  return {
    port,
    asked,
    isOwn: (socket) => own.has(socket),
    get refused() {
      return refused;
    },
    close,
  };
}

/** The socket is known as the proxy's own one before it connects. */
function connectAsOwn({ host, port }: Request, own: Set<unknown>): Socket {
  const socket = new Socket();
  own.add(socket);
  return socket.connect(port, host);
}

async function requestOf(client: Duplex, mtproto: MtprotoProxy | undefined): Promise<Request | undefined> {
  if (mtproto !== undefined) return obfuscated(client, mtproto);
  return String.fromCharCode((await peek(client))[0] ?? 0) === "C" ? http(client) : socks(client);
}

/** Source: core.telegram.org/mtproto/mtproto-transports#transport-obfuscation. */
async function obfuscated(client: Duplex, { secret, portOf }: MtprotoProxy): Promise<Request> {
  const header = await take(client, 64);
  const reversed = Buffer.from(header.subarray(8, 56)).reverse();
  const keyOf = (bytes: Buffer): Buffer => createHash("sha256").update(bytes).update(secret).digest();
  const there = createDecipheriv("aes-256-ctr", keyOf(header.subarray(8, 40)), header.subarray(40, 56));
  const back = createCipheriv("aes-256-ctr", keyOf(reversed.subarray(0, 32)), reversed.subarray(32, 48));
  const plain = there.update(header);
  if (plain.readUInt32LE(56) !== 0xefefefef) throw new Error("another transport, or another secret");
  const port = portOf(plain.readInt16LE(60));
  return { host: "127.0.0.1", port, granted: Buffer.of(), first: Buffer.of(0xef), there, back };
}

const RECORD_HEADER = 5;
const HANDSHAKE = 0x16;
const CHANGE_CIPHER_SPEC = 0x14;
const APPLICATION_DATA = 0x17;
/** The longest payload of a record. Source: RFC 8446, 5.1. */
const MAX_RECORD = 16_384;
/** Place and length of the random bytes in the records of ClientHello and ServerHello. */
const RANDOM_AT = 11;
const RANDOM_LENGTH = 32;
/** The last four bytes of a client's random also hold the time. */
const UNTIMED_LENGTH = 28;

/**
 * Answers the handshake of a client that knows the secret; what follows is in records of application data, which the returned
 * stream takes apart and makes. Source: the MTProto proxy servers: both randoms are HMACs with the secret.
 */
async function fakeTls(socket: Socket, secret: Buffer): Promise<Duplex> {
  const hello = await takeRecord(socket);
  const random = Buffer.from(hello.subarray(RANDOM_AT, RANDOM_AT + RANDOM_LENGTH));
  hello.fill(0, RANDOM_AT, RANDOM_AT + RANDOM_LENGTH);
  const expected = createHmac("sha256", secret).update(hello).digest();
  if (!random.subarray(0, UNTIMED_LENGTH).equals(expected.subarray(0, UNTIMED_LENGTH)))
    throw new Error("another secret");
  const answer = Buffer.concat([
    record(HANDSHAKE, Buffer.concat([Buffer.of(2, 0, 0, 34, 3, 3), Buffer.alloc(RANDOM_LENGTH)])),
    record(CHANGE_CIPHER_SPEC, Buffer.of(1)),
    record(APPLICATION_DATA, randomBytes(1_000)),
  ]);
  createHmac("sha256", secret).update(random).update(answer).digest().copy(answer, RANDOM_AT);
  socket.write(answer);
  return inRecords(socket);
}

function inRecords(socket: Socket): Duplex {
  const stream = new Duplex({
    read: () => {},
    write: (bytes: Buffer, _, done) => {
      for (let at = 0; at < bytes.length; at += MAX_RECORD) {
        socket.write(record(APPLICATION_DATA, bytes.subarray(at, at + MAX_RECORD)));
      }
      done();
    },
    destroy: (error, done) => {
      socket.destroy();
      done(error);
    },
  });
  const pump = async (): Promise<void> => {
    for (;;) {
      const bytes = await takeRecord(socket);
      if (bytes[0] === APPLICATION_DATA) stream.push(bytes.subarray(RECORD_HEADER));
    }
  };
  socket.on("close", () => stream.destroy());
  void pump().catch(() => stream.destroy());
  return stream;
}

function record(type: number, payload: Buffer): Buffer {
  return Buffer.concat([Buffer.of(type, 3, 3, payload.length >> 8, payload.length & 0xff), payload]);
}

async function takeRecord(socket: Socket): Promise<Buffer> {
  const header = await take(socket, RECORD_HEADER);
  return Buffer.concat([header, await take(socket, header.readUInt16BE(3))]);
}

async function peek(socket: Duplex): Promise<Buffer> {
  const bytes = await take(socket, 1);
  socket.unshift(bytes);
  return bytes;
}

/** Reads what there is, if it is less: a stream that keeps a part is readable at once, again and again. */
async function take(stream: Duplex, count: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let missing = count; missing > 0; ) {
    const part = stream.read(Math.min(missing, stream.readableLength || 1)) as Buffer | null;
    if (part === null) await once(stream, "readable");
    else {
      parts.push(part);
      missing -= part.length;
    }
  }
  return Buffer.concat(parts);
}

/** Source: the SOCKS4 and SOCKS4a memos. */
async function socks4(client: Duplex): Promise<Request | undefined> {
  const port = (await take(client, 2)).readUInt16BE();
  const address = await take(client, 4);
  const username = await takeText(client);
  const isNamed = address.readUInt32BE() < 0x100 && address[3] !== 0;
  const host = isNamed ? await takeText(client) : [...address].join(".");
  if (username !== LOGIN.username) {
    client.write(Buffer.of(0, 93, 0, 0, 0, 0, 0, 0));
    return undefined;
  }
  return { host, port, granted: Buffer.of(0, 90, 0, 0, 0, 0, 0, 0) };
}

/** Takes a text that ends with a zero byte. */
async function takeText(client: Duplex): Promise<string> {
  const bytes: number[] = [];
  for (;;) {
    const [byte = 0] = await take(client, 1);
    if (byte === 0) return String(Buffer.from(bytes));
    bytes.push(byte);
  }
}

async function socks(client: Duplex): Promise<Request | undefined> {
  const [version, methods = 0] = await take(client, 2);
  if (version === 4) return socks4(client);
  await take(client, methods);
  client.write(Buffer.of(5, 2));
  const [, length = 0] = await take(client, 2);
  const username = String(await take(client, length));
  const password = String(await take(client, (await take(client, 1))[0] ?? 0));
  if (username !== LOGIN.username || password !== LOGIN.password) {
    client.write(Buffer.of(1, 1));
    return undefined;
  }
  client.write(Buffer.of(1, 0));
  const kind = (await take(client, 4))[3];
  const bytes = await take(client, kind === 1 ? 4 : ((await take(client, 1))[0] ?? 0));
  const host = kind === 1 ? [...bytes].join(".") : String(bytes);
  const port = (await take(client, 2)).readUInt16BE();
  return { host, port, granted: Buffer.of(5, 0, 0, 1, 0, 0, 0, 0, 0, 0) };
}

async function http(client: Duplex): Promise<Request | undefined> {
  let head = "";
  while (!head.endsWith("\r\n\r\n")) head += String(await take(client, 1));
  const [, host = "", port] = /^CONNECT (\S+):(\d+) HTTP\/1\.1\r\n/.exec(head) ?? [];
  const [, basic = ""] = /\r\nProxy-Authorization: Basic (\S+)\r\n/.exec(head) ?? [];
  if (Buffer.from(basic, "base64").toString() !== `${LOGIN.username}:${LOGIN.password}`) {
    client.write("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    return undefined;
  }
  return { host, port: Number(port), granted: Buffer.from("HTTP/1.1 200 OK\r\n\r\n") };
}
