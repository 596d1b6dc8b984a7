import { randomBytes } from "node:crypto";
import type { Authorization } from "./authorization.js";
import type { CallServer } from "./calls.js";
import type { Connection } from "./connection.js";
import { openPacket } from "./crypto.js";
import type { KeyExchangeStep } from "./key-exchange.js";
import { badServerSalt, newSessionCreated, unpackMessages } from "./messages.js";
import { serveMessage } from "./service-messages.js";
import type { Services } from "./services.js";

const KEY_UNKNOWN = -404;
const SMALLEST_PACKET_BYTES = 24;
const PLAIN_HEADER_BYTES = 32;
/** What is before the body of an unencrypted message: no key, its id, its length. */
const PLAIN_MESSAGE_BYTES = 20;
const NO_KEY = 0n;

/** Takes packets apart: whose they are, whether they may be read, and what is in them. */
export class PacketServer {
  readonly #services: Services;
  readonly #calls: CallServer;
  readonly #bound: (connection: Connection, authorization: Authorization) => void;

  /** @param bound called with the auth key of a connection when its first packet arrives. */
  constructor(
    services: Services,
    calls: CallServer,
    bound: (connection: Connection, authorization: Authorization) => void,
  ) {
    this.#services = services;
    this.#calls = calls;
    this.#bound = bound;
  }

  receive(connection: Connection, packet: Buffer): void {
    const number = this.#services.records.nextEvent();
    connection.packets += 1;
    if (packet.length >= SMALLEST_PACKET_BYTES && packet.readBigInt64LE(0) === NO_KEY) {
      this.#agreeUponKey(connection, packet);
      return;
    }
    const authorization = packet.length < SMALLEST_PACKET_BYTES ? undefined : this.#keyOf(connection, packet);
    if (authorization === undefined) {
      connection.sendTransportError(KEY_UNKNOWN);
      return;
    }
    const { account } = authorization;
    if (connection.authorization === undefined) {
      connection.authorization = authorization;
      this.#bound(connection, authorization);
    }
    const action = this.#services.rules.ofPacket(account.name, connection.packets === 1);
    if (action?.kind === "transportError") connection.sendTransportError(action.code);
    if (action !== undefined) return;
    const plain = openPacket(packet, authorization.authKey);
    if (plain === undefined || connection.authorization !== authorization) connection.destroy();
    else this.#read(connection, authorization, plain, number);
  }

  /** A key is known in its own data center alone. */
  #keyOf(connection: Connection, packet: Buffer): Authorization | undefined {
    const authorization = this.#services.accounts.ofKey(packet.readBigInt64LE(0));
    return authorization?.dcId === connection.dcId ? authorization : undefined;
  }

  /** An unencrypted message: a step of a key exchange, or nothing that needs an answer. */
  #agreeUponKey(connection: Connection, packet: Buffer): void {
    let step: KeyExchangeStep | undefined;
    try {
      step = connection.keyExchange.receive(packet.subarray(PLAIN_MESSAGE_BYTES));
    } catch {
      // The client does not follow the protocol: Telegram closes the connection, too.
      connection.destroy();
      return;
    }
    if (step === undefined) return;
    if (step.agreed !== undefined) {
      const { authKey, salt } = step.agreed;
      this.#services.accounts.addKey(authKey, connection.dcId).salt = salt;
    }
    connection.sendPlain(step.answer);
  }

  #read(connection: Connection, authorization: Authorization, plain: Buffer, number: number): void {
    const session = authorization.wireSession(plain.readBigInt64LE(8));
    const messageId = plain.readBigInt64LE(16);
    const { salt, account } = authorization;
    connection.session = session;
    if (plain.readBigInt64LE(0) !== salt) {
      connection.send({ body: badServerSalt(messageId, plain.readInt32LE(24), salt), isContent: false });
      return;
    }
    const body = plain.subarray(PLAIN_HEADER_BYTES, PLAIN_HEADER_BYTES + plain.readUInt32LE(28));
    connection.together(() => {
      if (!session.isAnnounced) {
        session.isAnnounced = true;
        const uniqueId = randomBytes(8).readBigInt64LE(0);
        connection.send({ body: newSessionCreated(messageId, uniqueId, salt), isContent: true });
      }
      for (const message of unpackMessages(messageId, body)) {
        if (connection.isClosed) return;
        const isService = serveMessage(connection, message, (id) =>
          this.#services.waits.acknowledge(account.name, id, number),
        );
        if (!isService) this.#calls.receive(connection, message, number);
      }
    });
  }
}
