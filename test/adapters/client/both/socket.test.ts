import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
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
