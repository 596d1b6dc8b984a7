import { randomBytes } from "node:crypto";
import { connect } from "node:net";

/** How far this machine's clock is from a server's. */
export interface ClockOffset {
  /** Milliseconds that the server is ahead; negative when it is behind. */
  readonly offsetMs: number;
  /** By how much that may be wrong, in milliseconds: the time the answer took. */
  readonly uncertaintyMs: number;
}

const TIMEOUT_MS = 5_000;
/** Source: core.telegram.org/mtproto/mtproto-transports#intermediate. */
const INTERMEDIATE = 0xeeeeeeee;
/** `req_pq_multi`. Source: core.telegram.org/mtproto/auth_key. */
const REQ_PQ_MULTI = 0xbe7e8ef1;
const NONCE_BYTES = 16;
/** Auth key id, message id and length of a message that is not encrypted. Source: core.telegram.org/mtproto/description. */
const HEADER_BYTES = 20;

/**
 * Asks a Telegram server for the first step of a key exchange, without an account, and reads its clock from the id of its
 * answer: the upper half of a message id is the Unix time. Source: core.telegram.org/mtproto/description#message-identifier-msg-id.
 */
export function measureClockOffset(host: string, port: number, signal: AbortSignal): Promise<ClockOffset> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    const settle = (finish: () => void): void => {
      signal.removeEventListener("abort", abort);
      socket.destroy();
      finish();
    };
    const abort = (): void => settle(() => reject(signal.reason));
    signal.addEventListener("abort", abort, { once: true });
    let sentAt = 0;
    let received = Buffer.alloc(0);
    socket.setTimeout(TIMEOUT_MS, () => settle(() => reject(new Error(`no answer within ${TIMEOUT_MS / 1000} s`))));
    socket.once("error", (error) => settle(() => reject(error)));
    socket.once("close", () => settle(() => reject(new Error("the server closed the connection"))));
    socket.once("connect", () => {
      sentAt = Date.now();
      socket.write(keyExchangeRequest());
    });
    socket.on("data", (chunk) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 4 || received.length < 4 + received.readUInt32LE(0)) return;
      const receivedAt = Date.now();
      const server = timeOf(received.subarray(4));
      if (server === undefined) return settle(() => reject(new Error("the server answers with an error")));
      const uncertaintyMs = receivedAt - sentAt;
      settle(() => resolve({ offsetMs: Math.round(server - (sentAt + receivedAt) / 2), uncertaintyMs }));
    });
  });
}

function keyExchangeRequest(): Buffer {
  const message = Buffer.alloc(HEADER_BYTES + 4 + NONCE_BYTES);
  // Ids of a client's messages are divisible by 4, and grow with its clock.
  message.writeBigUInt64LE((BigInt(Math.floor(Date.now() / 1000)) << 32n) | 4n, 8);
  message.writeUInt32LE(4 + NONCE_BYTES, 16);
  message.writeUInt32LE(REQ_PQ_MULTI, HEADER_BYTES);
  randomBytes(NONCE_BYTES).copy(message, HEADER_BYTES + 4);
  const head = Buffer.alloc(8);
  head.writeUInt32LE(INTERMEDIATE, 0);
  head.writeUInt32LE(message.length, 4);
  return Buffer.concat([head, message]);
}

/** Epoch milliseconds; `undefined` for a transport error, which is four bytes long. */
function timeOf(message: Buffer): number | undefined {
  if (message.length < HEADER_BYTES || message.readBigUInt64LE(0) !== 0n) return undefined;
  const id = message.readBigUInt64LE(8);
  return Number(id >> 32n) * 1000 + Number(((id & 0xffffffffn) * 1000n) >> 32n);
}
