import type { Connection } from "./connection.js";
import { futureSalts, type IncomingMessage, pong, readLongs, SERVICE, stateInfo } from "./messages.js";

/** Who wants to know of acknowledgements. */
export type AcknowledgementListener = (messageId: bigint) => void;

function answer(connection: Connection, body: Buffer): void {
  connection.send({ body, isContent: false });
}

function answerPing(connection: Connection, { id, body }: IncomingMessage): void {
  answer(connection, pong(id, body.readBigInt64LE(4)));
}

function answerSalts(connection: Connection, { id }: IncomingMessage): void {
  const salt = connection.authorization?.salt ?? 0n;
  answer(connection, futureSalts(id, Math.floor(Date.now() / 1000), salt));
}

function answerDestroySession(connection: Connection, { body }: IncomingMessage): void {
  const written = Buffer.from(body.subarray(0, 12));
  written.writeUInt32LE(SERVICE.destroySessionOk, 0);
  answer(connection, written);
}

function answerDrop(connection: Connection, { id }: IncomingMessage): void {
  const body = Buffer.alloc(16);
  body.writeUInt32LE(SERVICE.rpcResult, 0);
  body.writeBigInt64LE(id, 4);
  body.writeUInt32LE(SERVICE.answerUnknown, 12);
  answer(connection, body);
}

/**
 * Serves one of MTProto's own messages.
 *
 * @returns whether it was one: else it is an API request
 */
export function serveMessage(
  connection: Connection,
  message: IncomingMessage,
  acknowledged: AcknowledgementListener,
): boolean {
  const { id, body } = message;
  switch (body.readUInt32LE(0)) {
    case SERVICE.acknowledgement:
      readLongs(body, 4).forEach(acknowledged);
      return true;
    case SERVICE.ping:
      answerPing(connection, message);
      return true;
    case SERVICE.pingDelayDisconnect:
      answerPing(connection, message);
      connection.disconnectAfter(body.readInt32LE(12) * 1000);
      return true;
    case SERVICE.getFutureSalts:
      answerSalts(connection, message);
      return true;
    case SERVICE.stateRequest:
      answer(connection, stateInfo(id, readLongs(body, 4).length));
      return true;
    case SERVICE.destroySession:
      answerDestroySession(connection, message);
      return true;
    case SERVICE.dropAnswer:
      answerDrop(connection, message);
      return true;
    case SERVICE.stateInfo:
    case SERVICE.allInfo:
    case SERVICE.resendRequest:
    case SERVICE.httpWait:
      return true;
    default:
      return false;
  }
}
