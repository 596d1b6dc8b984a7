import { once } from "node:events";
import { type AddressInfo, createServer, Socket } from "node:net";
import { onTestFinished } from "vitest";

/** A proxy that speaks SOCKS5 and HTTP CONNECT, wants a login, and notes where it was asked to connect to. */
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

interface Request {
  readonly host: string;
  readonly port: number;
  readonly granted: Buffer;
}

/** Listens on the loopback interface; gone when the test is over. */
export async function startRecordingProxy(): Promise<RecordingProxy> {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const own = new Set<unknown>();
  let refused = 0;
  const open = async (client: Socket): Promise<void> => {
    const request = await (String.fromCharCode((await peek(client))[0] ?? 0) === "C" ? http(client) : socks(client));
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
    client.pipe(beyond);
    beyond.pipe(client);
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
