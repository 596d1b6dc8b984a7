import type { Socket } from "node:net";
import type { Account } from "./accounts.js";
import type { Authorization, WireSession } from "./authorization.js";
import { sealPacket } from "./crypto.js";
import { KeyExchange } from "./key-exchange.js";
import type { TelegramLibrary } from "./library.js";
import { containerOf, type MessageIds, type OutgoingMessage, writeMessage } from "./messages.js";
import type { Timers } from "./timers.js";
import { TransportDetector } from "./transport.js";
import { warn } from "./warnings.js";

/** What a connection needs of its test server. */
export interface ConnectionHost {
  readonly timers: Timers;
  readonly messageIds: MessageIds;
  /** How long everything it writes is under way. */
  readonly latencyMs: number;
  /** Whether each message goes out in a packet of its own. */
  readonly sendsSingly: boolean;
  received(connection: Connection, packet: Buffer): void;
  closed(connection: Connection): void;
}

/** One TCP connection of a client. */
export class Connection {
  readonly id: number;
  readonly openedAt: number;
  /** Number of the event in which it was accepted. */
  readonly openedEvent: number;
  /** The data center whose listener it came to. */
  readonly dcId: number;
  /** The auth key it uses: known with its first encrypted packet. */
  authorization: Authorization | undefined;
  /** What its client speaks: known with its `invokeWithLayer`. */
  library: TelegramLibrary | undefined;
  /** The MTProto session of its last packet. */
  session: WireSession | undefined;
  /** Whether it made a call outside `invokeWithoutUpdates`, and so takes updates. */
  takesUpdates = false;
  /** How many packets came in. */
  packets = 0;
  readonly #socket: Socket;
  readonly #host: ConnectionHost;
  readonly #transport = new TransportDetector();
  #keyExchange: KeyExchange | undefined;
  #outbox: OutgoingMessage[] = [];
  #isCorked = false;
  #isClosed = false;
  #stopDisconnect: (() => void) | undefined;

  constructor(socket: Socket, dcId: number, id: number, openedEvent: number, host: ConnectionHost) {
    this.id = id;
    this.dcId = dcId;
    this.openedAt = Date.now();
    this.openedEvent = openedEvent;
    this.#socket = socket;
    this.#host = host;
    socket.setNoDelay(true);
    socket.on("data", (chunk) => this.#read(chunk));
    socket.on("error", () => this.destroy());
    // The client gave the connection up with its FIN, whatever is still to be written.
    socket.on("end", () => this.destroy());
    socket.on("close", () => this.destroy());
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Whose auth key it uses. */
  get account(): Account | undefined {
    return this.authorization?.account;
  }

  /** The agreement upon a new key that is under way on it, begun when there is none. */
  get keyExchange(): KeyExchange {
    this.#keyExchange ??= new KeyExchange();
    return this.#keyExchange;
  }

  /** Sends an unencrypted message, as they are in a key exchange. */
  sendPlain(body: Buffer): void {
    const head = Buffer.alloc(20);
    head.writeBigInt64LE(this.#host.messageIds.next(), 8);
    head.writeInt32LE(body.length, 16);
    this.#write(Buffer.concat([head, body]));
  }

  /** Sends a message: at once, or with the others of the turn. */
  send(message: OutgoingMessage): void {
    if (this.#isClosed) return;
    this.#outbox.push(message);
    if (!this.#isCorked && this.#outbox.length === 1) queueMicrotask(() => this.#flush());
  }

  /** Runs `work` and sends what it sent together. */
  together(work: () => void): void {
    this.#isCorked = true;
    try {
      work();
    } finally {
      this.#isCorked = false;
      this.#flush();
    }
  }

  /** Answers with a bare number: -404, -429. */
  sendTransportError(code: number): void {
    const packet = Buffer.alloc(4);
    packet.writeInt32LE(code, 0);
    this.#write(packet);
  }

  /** Closes the connection after a delay. Each call restarts the delay, as `ping_delay_disconnect` does. */
  disconnectAfter(delayMs: number): void {
    this.#stopDisconnect?.();
    this.#stopDisconnect = this.#host.timers.after(delayMs, () => this.destroy());
  }

  /** Closes the connection now. What was not written stays unwritten. Twice is a no-op. */
  destroy(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#outbox = [];
    this.#stopDisconnect?.();
    this.#socket.destroy();
    this.#host.closed(this);
  }

  #read(chunk: Buffer): void {
    let packets: readonly Buffer[];
    try {
      packets = this.#transport.read(chunk);
    } catch {
      // What it sends is not MTProto: Telegram hangs up, too.
      this.destroy();
      return;
    }
    for (const packet of packets) {
      if (!this.#isClosed) this.#receive(packet);
    }
  }

  #receive(packet: Buffer): void {
    try {
      this.#host.received(this, packet);
    } catch (error) {
      warn(error);
      this.destroy();
    }
  }

  #flush(): void {
    const messages = this.#outbox;
    if (this.#isClosed || messages.length === 0) return;
    this.#outbox = [];
    if (this.#host.latencyMs === 0) this.#sendNow(messages);
    else this.#host.timers.after(this.#host.latencyMs, () => this.#sendNow(messages));
  }

  #sendNow(messages: readonly OutgoingMessage[]): void {
    const { authorization, session } = this;
    if (this.#isClosed || authorization === undefined || session === undefined) return;
    const written = messages.map((message) => this.#number(message, session));
    const only = written[0];
    if (only !== undefined && (written.length === 1 || this.#host.sendsSingly)) {
      for (const message of written) this.#seal(message, authorization, session);
      return;
    }
    const container = writeMessage(this.#host.messageIds.next(), session.sent * 2, containerOf(written));
    this.#seal(container, authorization, session);
  }

  #number(message: OutgoingMessage, session: WireSession): Buffer {
    const id = this.#host.messageIds.next();
    const sequence = session.sent * 2 + (message.isContent ? 1 : 0);
    if (message.isContent) session.sent += 1;
    message.onSent?.(id);
    return writeMessage(id, sequence, message.body);
  }

  #seal(message: Buffer, { salt, authKey, authKeyId }: Authorization, session: WireSession): void {
    const head = Buffer.allocUnsafe(16);
    head.writeBigInt64LE(salt, 0);
    head.writeBigInt64LE(session.id, 8);
    this.#write(sealPacket(Buffer.concat([head, message]), authKey, authKeyId));
  }

  #write(packet: Buffer): void {
    const frame = this.#transport.transport?.frame(packet);
    if (frame !== undefined && !this.#isClosed) this.#socket.write(frame);
  }
}
