import { gunzipSync } from "node:zlib";

/**
 * MTProto's own messages, read and written without the library: every call passes here.
 *
 * Source: https://core.telegram.org/mtproto/service_messages
 */
export const SERVICE = {
  container: 0x73f1f8dc,
  gzipPacked: 0x3072cfa1,
  acknowledgement: 0x62d6b459,
  ping: 0x7abe77ec,
  pingDelayDisconnect: 0xf3427b8c,
  pong: 0x347773c5,
  getFutureSalts: 0xb921bd04,
  futureSalts: 0xae500895,
  badServerSalt: 0xedab447b,
  newSessionCreated: 0x9ec20908,
  rpcResult: 0xf35c6d01,
  rpcError: 0x2144ca19,
  stateRequest: 0xda69fb52,
  stateInfo: 0x04deb57d,
  allInfo: 0x8cc0d131,
  resendRequest: 0x7d861a08,
  destroySession: 0xe7512126,
  destroySessionOk: 0xe22045fc,
  dropAnswer: 0x58e4a740,
  answerUnknown: 0x5e2ad36e,
  httpWait: 0x9299359f,
  vector: 0x1cb5c415,
  boolTrue: 0x997275b5,
  boolFalse: 0xbc799737,
} as const;

/** One message of a packet, out of its container and unpacked. */
export interface IncomingMessage {
  readonly id: bigint;
  readonly body: Buffer;
}

const MESSAGE_HEADER_BYTES = 16;

/** Reads the bytes of a TL `bytes` or `string` at `offset`. */
export function readBytes(source: Buffer, offset: number): Buffer {
  const first = source.readUInt8(offset);
  if (first < 254) return source.subarray(offset + 1, offset + 1 + first);
  const length = source.readUIntLE(offset + 1, 3);
  return source.subarray(offset + 4, offset + 4 + length);
}

/** Writes a TL `bytes` or `string`: its length, itself, and zeroes up to a multiple of four. */
export function writeBytes(value: Uint8Array): Buffer {
  const head = value.length < 254 ? 1 : 4;
  const written = Buffer.alloc((head + value.length + 3) & ~3);
  if (head === 1) written[0] = value.length;
  else written.writeUInt32LE(value.length * 256 + 254, 0);
  written.set(value, head);
  return written;
}

function unzip(body: Buffer): Buffer {
  return body.readUInt32LE(0) === SERVICE.gzipPacked ? gunzipSync(readBytes(body, 4)) : body;
}

/** The messages in a message: those of a container, or the message itself. */
export function unpackMessages(id: bigint, packed: Buffer): readonly IncomingMessage[] {
  const body = unzip(packed);
  if (body.readUInt32LE(0) !== SERVICE.container) return [{ id, body }];
  const count = body.readUInt32LE(4);
  const messages: IncomingMessage[] = [];
  let offset = 8;
  for (let i = 0; i < count; i++) {
    const start = offset + MESSAGE_HEADER_BYTES;
    const end = start + body.readUInt32LE(offset + 12);
    messages.push({ id: body.readBigInt64LE(offset), body: unzip(body.subarray(start, end)) });
    offset = end;
  }
  return messages;
}

/** The message ids of a `Vector<long>` at `offset`. */
export function readLongs(body: Buffer, offset: number): readonly bigint[] {
  const count = body.readUInt32LE(offset + 4);
  return Array.from({ length: count }, (_, i) => body.readBigInt64LE(offset + 8 + i * 8));
}

/** The answer to a call. */
export function rpcResult(requestId: bigint, result: Uint8Array): Buffer {
  const body = Buffer.allocUnsafe(12 + result.length);
  body.writeUInt32LE(SERVICE.rpcResult, 0);
  body.writeBigInt64LE(requestId, 4);
  body.set(result, 12);
  return body;
}

/** The refusal of a call. */
export function rpcError(requestId: bigint, code: number, message: string): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(SERVICE.rpcError, 0);
  head.writeInt32LE(code, 4);
  return rpcResult(requestId, Buffer.concat([head, writeBytes(Buffer.from(message))]));
}

/** The answer to a ping. */
export function pong(requestId: bigint, pingId: bigint): Buffer {
  const body = Buffer.alloc(20);
  body.writeUInt32LE(SERVICE.pong, 0);
  body.writeBigInt64LE(requestId, 4);
  body.writeBigInt64LE(pingId, 12);
  return body;
}

const BAD_SALT_CODE = 48;

/** Tells a client that its salt is wrong and which one is right; what it sent was not looked at. */
export function badServerSalt(messageId: bigint, sequence: number, salt: bigint): Buffer {
  const body = Buffer.alloc(28);
  body.writeUInt32LE(SERVICE.badServerSalt, 0);
  body.writeBigInt64LE(messageId, 4);
  body.writeInt32LE(sequence, 12);
  body.writeInt32LE(BAD_SALT_CODE, 16);
  body.writeBigInt64LE(salt, 20);
  return body;
}

/** Tells a client that the server knows its MTProto session from now on. */
export function newSessionCreated(firstMessageId: bigint, uniqueId: bigint, salt: bigint): Buffer {
  const body = Buffer.alloc(28);
  body.writeUInt32LE(SERVICE.newSessionCreated, 0);
  body.writeBigInt64LE(firstMessageId, 4);
  body.writeBigInt64LE(uniqueId, 12);
  body.writeBigInt64LE(salt, 20);
  return body;
}

/** Acknowledges messages whose answer comes later, or never. */
export function acknowledgement(ids: readonly bigint[]): Buffer {
  const body = Buffer.alloc(12 + ids.length * 8);
  body.writeUInt32LE(SERVICE.acknowledgement, 0);
  body.writeUInt32LE(SERVICE.vector, 4);
  body.writeUInt32LE(ids.length, 8);
  ids.forEach((id, i) => {
    body.writeBigInt64LE(id, 12 + i * 8);
  });
  return body;
}

/** The salts of the next hours: always the current one. */
export function futureSalts(requestId: bigint, nowSeconds: number, salt: bigint): Buffer {
  const body = Buffer.alloc(36);
  body.writeUInt32LE(SERVICE.futureSalts, 0);
  body.writeBigInt64LE(requestId, 4);
  body.writeInt32LE(nowSeconds, 12);
  body.writeUInt32LE(1, 16);
  body.writeInt32LE(nowSeconds - 1800, 20);
  body.writeInt32LE(nowSeconds + 1800, 24);
  body.writeBigInt64LE(salt, 28);
  return body;
}

/** Says of each message asked about that it was received. */
export function stateInfo(requestId: bigint, count: number): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt32LE(SERVICE.stateInfo, 0);
  head.writeBigInt64LE(requestId, 4);
  return Buffer.concat([head, writeBytes(Buffer.alloc(count, 4))]);
}

/** A message for the wire, before it has an id. */
export interface OutgoingMessage {
  readonly body: Buffer;
  /** Answers and updates are; acknowledgements, pongs and containers are not. */
  readonly isContent: boolean;
  /** Called with the id it was sent under, when it was sent. */
  readonly onSent?: (messageId: bigint) => void;
}

/** Writes one message of a packet: id, sequence number, length, body. */
export function writeMessage(id: bigint, sequence: number, body: Uint8Array): Buffer {
  const message = Buffer.allocUnsafe(MESSAGE_HEADER_BYTES + body.length);
  message.writeBigInt64LE(id, 0);
  message.writeInt32LE(sequence, 8);
  message.writeInt32LE(body.length, 12);
  message.set(body, MESSAGE_HEADER_BYTES);
  return message;
}

/** The body of a container of written messages. */
export function containerOf(messages: readonly Buffer[]): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(SERVICE.container, 0);
  head.writeUInt32LE(messages.length, 4);
  return Buffer.concat([head, ...messages]);
}

/** Server message ids: they rise, follow the clock, and are 1 modulo 4 as those of answers are. */
export class MessageIds {
  #last = 0n;
  #lastMillisecond = 0;

  next(): bigint {
    const now = Date.now();
    if (now > this.#lastMillisecond) {
      this.#lastMillisecond = now;
      const seconds = Math.floor(now / 1000);
      const fraction = Math.floor(((now % 1000) / 1000) * 2 ** 32);
      this.#last = ((BigInt(seconds) << 32n) | BigInt((fraction & ~3) >>> 0)) + 1n;
    } else {
      this.#last += 4n;
    }
    return this.#last;
  }
}
