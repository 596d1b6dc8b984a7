import { randomBytes } from "node:crypto";
import type { Account } from "./accounts.js";
import type { CallServer } from "./calls.js";
import type { Connection } from "./connection.js";
import { openPacket } from "./crypto.js";
import { badServerSalt, newSessionCreated, unpackMessages } from "./messages.js";
import { serveMessage } from "./service-messages.js";
import type { Services } from "./services.js";

const KEY_UNKNOWN = -404;
const SMALLEST_PACKET_BYTES = 24;
const PLAIN_HEADER_BYTES = 32;

/** Takes packets apart: whose they are, whether they may be read, and what is in them. */
export class PacketServer {
  readonly #services: Services;
  readonly #calls: CallServer;
  readonly #bound: (connection: Connection, account: Account) => void;

  /** @param bound told of the account of a connection, with its first packet. */
  constructor(services: Services, calls: CallServer, bound: (connection: Connection, account: Account) => void) {
    this.#services = services;
    this.#calls = calls;
    this.#bound = bound;
  }

  receive(connection: Connection, packet: Buffer): void {
    const number = this.#services.records.nextEvent();
    connection.packets += 1;
    const account =
      packet.length < SMALLEST_PACKET_BYTES ? undefined : this.#services.accounts.ofKey(packet.readBigInt64LE(0));
    if (account === undefined) {
      connection.sendTransportError(KEY_UNKNOWN);
      return;
    }
    if (connection.account === undefined) {
      connection.account = account;
      this.#bound(connection, account);
    }
    const action = this.#services.rules.ofPacket(account.name, connection.packets === 1);
    if (action?.kind === "transportError") connection.sendTransportError(action.code);
    if (action !== undefined) return;
    const plain = openPacket(packet, account.authKey);
    if (plain === undefined || connection.account !== account) connection.destroy();
    else this.#read(connection, account, plain, number);
  }

  #read(connection: Connection, account: Account, plain: Buffer, number: number): void {
    const session = account.wireSession(plain.readBigInt64LE(8));
    const messageId = plain.readBigInt64LE(16);
    const { salt } = account;
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
