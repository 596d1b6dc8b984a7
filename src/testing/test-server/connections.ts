import type { Socket } from "node:net";
import type { Authorization } from "./authorization.js";
import { CallServer } from "./calls.js";
import { Connection, type ConnectionHost } from "./connection.js";
import { MessageIds } from "./messages.js";
import type { TestServerOptions } from "./options.js";
import { PacketServer } from "./packets.js";
import type { OpenConnectionRecord } from "./records.js";
import type { Services } from "./services.js";

/** The connections that are open, and the records of them. */
export class Connections {
  readonly #services: Services;
  readonly #host: ConnectionHost;
  /** Each with its record, from the moment its account is known. */
  readonly #open = new Map<Connection, OpenConnectionRecord | undefined>();
  #last = 0;

  constructor(services: Services, options: TestServerOptions) {
    this.#services = services;
    const packets = new PacketServer(services, new CallServer(services), (connection, authorization) =>
      this.#bound(connection, authorization),
    );
    this.#host = {
      timers: services.timers,
      messageIds: new MessageIds(),
      latencyMs: options.latencyMs ?? 0,
      sendsSingly: options.sendsSingly ?? false,
      received: (connection, packet) => packets.receive(connection, packet),
      closed: (connection) => this.#closed(connection),
    };
  }

  accept(socket: Socket, dcId: number): void {
    this.#last += 1;
    const connection = new Connection(socket, dcId, this.#last, this.#services.records.nextEvent(), this.#host);
    this.#open.set(connection, undefined);
  }

  /** Closes those of an account, or all of them. */
  destroy(account: string | undefined): void {
    for (const connection of [...this.#open.keys()]) {
      if (account === undefined || connection.account?.name === account) connection.destroy();
    }
  }

  /** Sends an update to those of an account that take updates. */
  push(account: string, body: Buffer): void {
    for (const connection of this.#open.keys()) {
      if (connection.account?.name === account && connection.takesUpdates) connection.send({ body, isContent: true });
    }
  }

  /** The same to those of one auth key alone. */
  pushTo(authorization: Authorization, body: Buffer): void {
    for (const connection of this.#open.keys()) {
      if (connection.authorization === authorization && connection.takesUpdates) {
        connection.send({ body, isContent: true });
      }
    }
  }

  #bound(connection: Connection, authorization: Authorization): void {
    const { id, openedAt, openedEvent } = connection;
    const record = {
      account: authorization.account.name,
      authorization,
      connection: id,
      openedAt,
      openedEvent,
      closedAt: null,
    };
    this.#open.set(connection, record);
    this.#services.records.connections.add(record);
    this.#services.records.peaks.opened(authorization);
  }

  #closed(connection: Connection): void {
    const record = this.#open.get(connection);
    this.#open.delete(connection);
    if (record === undefined) return;
    record.closedAt = Date.now();
    this.#services.records.peaks.closed(record.authorization);
  }
}
