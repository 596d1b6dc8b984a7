import { Socket } from "node:net";
import { httpConnect, httpRefusal } from "./http-connect.js";
import type { SocketClass } from "./library.js";
import { type SocksProxy, socksHandshake, socksRefusal } from "./socks.js";

/** No packet of Telegram is longer. TDLib takes 16 MB. */
const MAX_READ_BYTES = 32 * 1_024 * 1_024;

/**
 * Seconds that a SOCKS or HTTP proxy may take, as in the libraries. By the system's clock: the libraries construct the sockets
 * themselves, and one class serves the clients of several pools.
 */
const PROXY_TIMEOUT_SECONDS = 5;

/** The part of a Node.js socket that is used. */
interface RawSocket {
  setNoDelay?(isOn: boolean): void;
  unref?(): void;
}

/** A proxy in the fields of the libraries: they take an HTTP proxy for a SOCKS proxy, but never speak to it themselves. */
interface Proxy extends SocksProxy {
  readonly protocol?: "http" | undefined;
  readonly timeout?: number | undefined;
}

/** The libraries' own socket class, as far as its inside is used (extensions/PromisedNetSockets.js of both). */
interface LibrarySocket {
  client?: unknown;
  proxy?: Proxy | undefined;
  connect(...values: unknown[]): Promise<unknown>;
  close(): unknown;
  read(length: number): Promise<Buffer>;
  readExactly(length: number): Promise<Buffer>;
}

/**
 * The user's socket class with five changes. It sends at once (GramJS leaves Nagle's algorithm on, which costs 40 ms per
 * concurrent call). It does not keep the process alive (the pool does, while in use). It rejects impossible lengths: on a
 * negative one, which anyone on the route can send, GramJS never returns to the event loop. And an aborted connect ends
 * at once, even during the handshake with a SOCKS or HTTP proxy,
 * which never is passed by.
 */
export function configuredSocketClass(base: SocketClass): SocketClass {
  const known = classes.get(base);
  if (known !== undefined) return known;
  // The two classes a user can bring have no common constructor type.
  const Base = base as unknown as new (...values: unknown[]) => LibrarySocket;
  const configured = class extends Base {
    override async connect(...values: unknown[]): Promise<unknown> {
      const watch = new ConnectWatch(this);
      try {
        const result = await Promise.race([super.connect(...values), watch.failed]);
        if (watch.bypassesProxy) {
          await this.close();
          throw new Error(BYPASS);
        }
        for (const field of Object.values(this)) configure(field);
        return result;
      } finally {
        watch.end();
      }
    }

    override async readExactly(length: number): Promise<Buffer> {
      if (!(length >= 0 && length <= MAX_READ_BYTES)) {
        throw new Error(`A packet cannot be ${length} bytes long: the other side is not Telegram.`);
      }
      const parts: Buffer[] = [];
      for (let left = length; left > 0; ) {
        const part = await this.read(left);
        parts.push(part);
        left -= part.length;
      }
      return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
    }
  } as unknown as SocketClass;
  classes.set(base, configured);
  return configured;
}

/**
 * Observes the raw socket of a connect as soon as it is created; the libraries keep it in the field `client`. With a
 * SOCKS or HTTP proxy the handshake runs on that socket: the libraries' own uses another one, which cannot be closed from outside.
 */
class ConnectWatch {
  /** Rejects when the socket ends before the connect has. */
  readonly failed: Promise<never>;
  readonly #owner: LibrarySocket;
  readonly #proxy: Proxy | undefined;
  #fail: (error: Error) => void = () => {};
  #isOver = false;
  #isThroughProxy = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(owner: LibrarySocket) {
    this.#owner = owner;
    this.failed = new Promise((_, reject) => {
      this.#fail = reject;
    });
    this.failed.catch(() => {});
    this.#proxy = owner.proxy;
    // Without it the libraries connect the raw socket, to the requested address.
    if (this.#proxy !== undefined) owner.proxy = undefined;
    // A user's class that is built differently is left as it is; with a proxy it is not used at all.
    if (Object.hasOwn(owner, "client")) this.#watchField();
  }

  /** Whether a connect that succeeded has left the proxy out: a user's class has made a socket of its own. */
  get bypassesProxy(): boolean {
    return this.#proxy !== undefined && !this.#isThroughProxy;
  }

  end(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    const { client } = this.#owner;
    if (Object.hasOwn(this.#owner, "client")) {
      Object.defineProperty(this.#owner, "client", { value: client, ...PLAIN });
    }
    if (this.#proxy !== undefined) this.#owner.proxy = this.#proxy;
  }

  #watchField(): void {
    let client = this.#owner.client;
    Object.defineProperty(this.#owner, "client", {
      configurable: true,
      enumerable: true,
      get: () => client,
      set: (value: unknown) => {
        client = value;
        if (value instanceof Socket) this.#adopt(value);
      },
    });
  }

  #adopt(socket: Socket): void {
    configure(socket);
    socket.once("close", () => this.#fail(new Error("NetSocket was closed")));
    if (this.#proxy !== undefined) this.#connectThrough(socket, this.#proxy);
  }

  /** The next `connect` of the socket goes to the proxy, and is over when the proxy has connected. */
  #connectThrough(socket: Socket, proxy: Proxy): void {
    const connect = socket.connect.bind(socket) as (port: number, host: string, done: () => void) => Socket;
    const seconds = proxy.timeout ?? PROXY_TIMEOUT_SECONDS;
    const isHttp = proxy.protocol === "http";
    const [refusal, handshake] = isHttp ? [httpRefusal, httpConnect] : [socksRefusal, socksHandshake];
    const late = (): void => void socket.destroy(refusal(`the proxy did not connect within ${seconds} s`));
    const connectToProxy = (port: number, host: string, done: () => void): Socket => {
      this.#timer = setTimeout(late, seconds * 1_000).unref();
      return connect(proxy.port, proxy.ip, () => {
        handshake(socket, proxy, { host, port }).then(
          () => {
            this.#isThroughProxy = true;
            if (!this.#isOver) done();
            socket.resume();
          },
          (error: Error) => socket.destroy(error),
        );
      });
    };
    Object.defineProperty(socket, "connect", { value: connectToProxy, ...PLAIN });
  }
}

const BYPASS =
  "clientOptions.networkSocket does not connect by super.connect(), so it passes the proxy by: the connection was closed before anything was sent";

const PLAIN = { configurable: true, enumerable: true, writable: true } as const;

/** The libraries' own class has its socket in the field `client`; another class may use any field. */
function configure(field: unknown): void {
  if (typeof field !== "object" || field === null) return;
  const socket: RawSocket = field;
  if (typeof socket.unref !== "function") return;
  socket.unref();
  if (typeof socket.setNoDelay === "function") socket.setNoDelay(true);
}

const classes = new WeakMap<SocketClass, SocketClass>();
