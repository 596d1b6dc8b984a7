import { createCipheriv, createDecipheriv, createHash } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { onTestFinished } from "vitest";

/**
 * A proxy that notes where it was asked to connect to. It speaks SOCKS5 and HTTP CONNECT and wants a login; or it is an MTProto
 * proxy.
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
  const open = async (client: Socket): Promise<void> => {
    const request = await requestOf(client, mtproto);
    if (request === undefined) {
      refused++;
      client.destroy();
      return;
    }
    asked.push(`${request.host}:${request.port}`);
    const beyond = connectAsOwn(request, own);
    sockets.add(beyond);
    for (const [socket, other] of [[client, beyond] as const, [beyond, client] as const]) {
      socket.on("error", () => {}).on("close", () => other.destroy());
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

async function requestOf(client: Socket, mtproto: MtprotoProxy | undefined): Promise<Request | undefined> {
  if (mtproto !== undefined) return obfuscated(client, mtproto);
  return String.fromCharCode((await peek(client))[0] ?? 0) === "C" ? http(client) : socks(client);
}

/** Source: core.telegram.org/mtproto/mtproto-transports#transport-obfuscation. */
async function obfuscated(client: Socket, { secret, portOf }: MtprotoProxy): Promise<Request> {
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

async function peek(socket: Socket): Promise<Buffer> {
  const bytes = await take(socket, 1);
  socket.unshift(bytes);
  return bytes;
}

async function take(socket: Socket, count: number): Promise<Buffer> {
  for (;;) {
    const bytes = socket.read(count) as Buffer | null;
    if (bytes !== null) return bytes;
    await once(socket, "readable");
  }
}

async function socks(client: Socket): Promise<Request | undefined> {
  const [, methods = 0] = await take(client, 2);
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

async function http(client: Socket): Promise<Request | undefined> {
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
