import { once } from "node:events";
import { type AddressInfo, connect as connectSocket, createServer, type Server, type Socket } from "node:net";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import type { SocketClass } from "../../../../adapters/client/mtproto/library.js";
import { configuredSocketClass } from "../../../../adapters/client/mtproto/socket.js";
import { classifyTelegramError } from "../../../../src/index.js";
import { PromisedNetSockets } from "../../../fakes/client-library.js";

interface Polite {
  readonly client: Socket;
  connect(port: number, host: string): Promise<unknown>;
  close(): Promise<void>;
  write(data: Buffer): void;
  readExactly(length: number): Promise<Buffer>;
}

let make: (proxy?: object) => Polite;
beforeAll(() => {
  const Polite = configuredSocketClass(PromisedNetSockets as unknown as SocketClass) as unknown as new (
    proxy?: object,
  ) => Polite;
  make = (proxy) => {
    const socket = new Polite(proxy);
    onTestFinished(() => socket.close());
    return socket;
  };
});

async function serve(accept: (socket: Socket) => void): Promise<number> {
  const open = new Set<Socket>();
  const server: Server = createServer((socket) => {
    open.add(socket.on("error", () => {}));
    accept(socket);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

describe("readExactly()", () => {
  test.each([-8, -4, -1, 32 * 1_024 * 1_024 + 1, 2 ** 30, Number.NaN])("%d bytes - rejects at once", async (length) => {
    const port = await serve((socket) => socket.write("something"));
    const socket = make();
    await socket.connect(port, "127.0.0.1");
    await expect(socket.readExactly(length)).rejects.toThrow(/cannot be/);
  });

  test("data in pieces - returns all of it, and nothing of what follows", async () => {
    const port = await serve((socket) => {
      socket.setNoDelay(true);
      socket.write("ab");
      setImmediate(() => socket.write("cdef"));
    });
    const socket = make();
    await socket.connect(port, "127.0.0.1");
    expect(String(await socket.readExactly(3))).toBe("abc");
    expect((await socket.readExactly(0)).length).toBe(0);
    expect(String(await socket.readExactly(3))).toBe("def");
  });
});

describe("connect()", () => {
  test("when nothing listens - rejects with the cause", async () => {
    await expect(make().connect(1, "127.0.0.1")).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });
});

/** What the proxy was told, and what it answers step by step. */
function proxy(answers: readonly (readonly [asked: number, answer: Buffer])[]) {
  const heard: Buffer[] = [];
  const sockets: Socket[] = [];
  const accept = (socket: Socket): void => {
    sockets.push(socket);
    let left = [...answers];
    let bytes = Buffer.alloc(0);
    socket.on("data", (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      for (let step = left[0]; step !== undefined && bytes.length >= step[0]; step = left[0]) {
        heard.push(bytes.subarray(0, step[0]));
        bytes = bytes.subarray(step[0]);
        left = left.slice(1);
        socket.write(step[1]);
      }
      if (answers.length > 0 && left.length === 0 && bytes.length > 0) socket.write(bytes);
    });
  };
  return { heard, sockets, accept };
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");
const GRANTED_5 = hex("05 00 00 01 7f000001 1234");

describe("connect() - through a SOCKS proxy", () => {
  test.each<[string, object, string, (readonly [number, Buffer])[], string[]]>([
    [
      "5, without a login",
      { socksType: 5 },
      "149.154.167.51",
      [
        [3, hex("05 00")],
        [10, GRANTED_5],
      ],
      ["050100", "05010001959aa7330050"],
    ],
    [
      "5, with a login, to IPv6, and answers by name",
      { socksType: 5, username: "me", password: "pass" },
      "2001:67c:4e8:f002::a",
      [
        [4, hex("05 02")],
        [9, hex("01 00")],
        [22, hex("05 00 00 03 02 6162 1234")],
      ],
      ["05020002", "01026d650470617373", "050100042001067c04e8f002000000000000000a0050"],
    ],
    [
      "4, with a user name",
      { socksType: 4, username: "me" },
      "1.2.3.4",
      [[11, hex("00 5a 000000000000")]],
      ["04010050010203046d6500"],
    ],
    [
      "5, to a name",
      { socksType: 5 },
      "dc.example",
      [
        [3, hex("05 00")],
        [17, GRANTED_5],
      ],
      ["050100", "050100030a64632e6578616d706c650050"],
    ],
  ])("%s - is asked for the destination, and carries what follows", async (_, options, host, answers, asked) => {
    const { heard, accept } = proxy(answers);
    const port = await serve(accept);
    const socket = make({ ip: "127.0.0.1", port, ...options });
    await socket.connect(80, host);
    expect(heard.map((bytes) => bytes.toString("hex"))).toEqual(asked);
    socket.write(Buffer.from("hello"));
    expect(String(await socket.readExactly(5))).toBe("hello");
  });

  test("what the server sends in one packet with the proxy's reply - is not lost", async () => {
    const { accept } = proxy([
      [3, hex("05 00")],
      [10, Buffer.concat([GRANTED_5, Buffer.from("early")])],
    ]);
    const socket = make({ ip: "127.0.0.1", port: await serve(accept), socksType: 5 });
    await socket.connect(80, "149.154.167.51");
    expect(String(await socket.readExactly(5))).toBe("early");
  });

  test.each([
    [
      "refuses the login",
      { socksType: 5, username: "me", password: "s3cret" },
      [
        [4, hex("05 02")],
        [11, hex("01 01")],
      ],
    ],
    ["wants a login", { socksType: 5 }, [[3, hex("05 02")]]],
    [
      "refuses the destination",
      { socksType: 5 },
      [
        [3, hex("05 00")],
        [10, hex("05 05 00 01 00000000 0000")],
      ],
    ],
    ["is none", { socksType: 5 }, [[3, Buffer.from("HTTP/1.1 400 Bad Request\r\n")]]],
    ["says no end", { socksType: 5 }, [[3, Buffer.alloc(100_000, 5)]]],
    ["refuses (4)", { socksType: 4 }, [[9, hex("00 5b 000000000000")]]],
  ] as [string, object, [number, Buffer][]][])(
    "one that %s - an error about the proxy, without secrets",
    async (_, options, answers) => {
      const { accept, sockets } = proxy(answers);
      const socket = make({ ip: "127.0.0.1", port: await serve(accept), ...options });
      const error = await socket.connect(80, "149.154.167.51").catch((reason: unknown) => reason);
      expect(classifyTelegramError(error)).toMatchObject({ kind: "retry", scope: "proxy" });
      expect(String(error)).not.toContain("s3cret");
      while (sockets[0]?.destroyed === false) await new Promise((resolve) => setImmediate(resolve));
    },
  );

  test("one that closes - an error about the proxy", async () => {
    const port = await serve((socket) => void socket.end());
    const error = await make({ ip: "127.0.0.1", port, socksType: 5 })
      .connect(80, "1.2.3.4")
      .catch((reason) => reason);
    expect(classifyTelegramError(error)).toMatchObject({ scope: "proxy" });
  });

  test("one that is mute - close() ends the connect and its socket; neither keeps the process alive", async () => {
    const { accept, sockets } = proxy([]);
    const socket = make({ ip: "127.0.0.1", port: await serve(accept), socksType: 5, timeout: 60 });
    const connecting = socket.connect(80, "149.154.167.51").catch((reason: unknown) => reason);
    while (sockets[0] === undefined) await new Promise((resolve) => setImmediate(resolve));
    const closed = once(sockets[0], "close");
    await socket.close();
    await closed;
    expect(await connecting).toBeInstanceOf(Error);
  });

  test("one that is mute - its own timeout ends the connect", async () => {
    const { accept } = proxy([]);
    const socket = make({ ip: "127.0.0.1", port: await serve(accept), socksType: 5, timeout: 0.05 });
    await expect(socket.connect(80, "149.154.167.51")).rejects.toThrow(/within 0.05 s/);
  });
});

describe("connect() - through an HTTP proxy", () => {
  const HEAD = "CONNECT 149.154.167.51:80 HTTP/1.1\r\nHost: 149.154.167.51:80\r\n";
  const LOGIN = `Proxy-Authorization: Basic ${Buffer.from("me:s3cret").toString("base64")}\r\n`;
  const V6 = "[2001:67c:4e8:f002::a]:80";
  const http = (port: number, options: object = {}): Polite =>
    make({ ip: "127.0.0.1", port, socksType: 5, protocol: "http", ...options });

  test.each([
    ["without a login", {}, "149.154.167.51", `${HEAD}\r\n`, "HTTP/1.1 200 Connection established\r\n\r\n"],
    [
      "with a login",
      { username: "me", password: "s3cret" },
      "149.154.167.51",
      `${HEAD}${LOGIN}\r\n`,
      "HTTP/1.0 200\r\n\r\n",
    ],
    [
      "to IPv6, after an interim answer",
      {},
      "2001:67c:4e8:f002::a",
      `CONNECT ${V6} HTTP/1.1\r\nHost: ${V6}\r\n\r\n`,
      "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    ],
  ])("%s - is asked for the destination, and carries what follows", async (_, options, host, asked, answer) => {
    const { heard, accept } = proxy([[asked.length, Buffer.from(answer)]]);
    const socket = http(await serve(accept), options);
    await socket.connect(80, host);
    expect(heard.map(String)).toEqual([asked]);
    socket.write(Buffer.from("hello"));
    expect(String(await socket.readExactly(5))).toBe("hello");
  });

  test("what the server sends in one packet with the proxy's answer - is not lost", async () => {
    const { accept } = proxy([[HEAD.length + 2, Buffer.from("HTTP/1.1 200 OK\r\n\r\nearly")]]);
    const socket = http(await serve(accept));
    await socket.connect(80, "149.154.167.51");
    expect(String(await socket.readExactly(5))).toBe("early");
  });

  test.each([
    [
      "refuses the login",
      "HTTP/1.1 407 me:s3cret is wrong\r\nProxy-Authenticate: Basic\r\n\r\n",
      /user name or the password/,
    ],
    ["refuses the destination", "HTTP/1.1 403 s3cret\r\n\r\n", /status 403/],
    ["redirects", "HTTP/1.1 302 Found\r\nLocation: http://s3cret/\r\n\r\n", /status 302/],
    ["is none", "SSH-2.0-s3cret\r\n", /no HTTP proxy/],
    ["is of another version", "HTTP/2 200\r\n\r\n", /no HTTP\/1.1 proxy/],
    ["says no end", `HTTP/1.1 200 OK\r\n${"A: s3cret\r\n".repeat(10_000)}`, /more bytes than a reply may have/],
  ])("one that %s - an error about the proxy, without what it said", async (_, answer, message) => {
    const { accept, sockets } = proxy([[HEAD.length + LOGIN.length + 2, Buffer.from(answer)]]);
    const socket = http(await serve(accept), { username: "me", password: "s3cret" });
    const error = await socket.connect(80, "149.154.167.51").catch((reason: unknown) => reason);
    expect(classifyTelegramError(error)).toMatchObject({ kind: "retry", scope: "proxy" });
    expect(String(error)).toMatch(message);
    expect(String(error)).not.toContain("s3cret");
    await expect.poll(() => sockets[0]?.destroyed).toBe(true);
  });

  test("one that closes - an error about the proxy", async () => {
    const port = await serve((socket) => void socket.end("HTTP/1.1 2"));
    const error = await http(port)
      .connect(80, "1.2.3.4")
      .catch((reason: unknown) => reason);
    expect(classifyTelegramError(error)).toMatchObject({ scope: "proxy" });
  });

  test("one that is slow - its timeout ends the connect", async () => {
    const port = await serve((socket) => {
      const drip = setInterval(() => socket.write("HTTP/1.1 200 OK"), 5);
      socket.on("close", () => clearInterval(drip));
    });
    const connecting = http(port, { timeout: 0.05 }).connect(80, "149.154.167.51");
    await expect(connecting).rejects.toThrow(/HTTP proxy: the proxy did not connect within 0.05 s/);
  });

  test("a destination that is no host - nothing is sent", async () => {
    const { accept, heard } = proxy([[1, Buffer.of()]]);
    const connecting = http(await serve(accept)).connect(80, "1.2.3.4\r\nX: y");
    await expect(connecting).rejects.toThrow(/no address and no host name/);
    expect(heard).toEqual([]);
  });
});

describe("connect() - with a proxy, of a class that makes its own socket", () => {
  test("is refused, and its socket is closed", async () => {
    const direct: Socket[] = [];
    const received: Buffer[] = [];
    const port = await serve((socket) => void direct.push(socket.on("data", (chunk) => received.push(chunk))));
    class Own extends PromisedNetSockets {
      override async connect(): Promise<never> {
        const socket = connectSocket(port, "127.0.0.1");
        await once(socket, "connect");
        Object.assign(this, { raw: socket });
        return this as never;
      }
      override async close(): Promise<void> {
        (Reflect.get(this, "raw") as Socket).destroy();
      }
    }
    const Configured = configuredSocketClass(Own as unknown as SocketClass) as unknown as new (proxy: object) => Polite;
    const socket = new Configured({ ip: "127.0.0.1", port: 1, socksType: 5 });
    await expect(socket.connect(80, "149.154.167.51")).rejects.toThrow(/passes the proxy by/);
    await expect.poll(() => direct[0]?.destroyed).toBe(true);
    expect(received).toEqual([]);
  });
});
