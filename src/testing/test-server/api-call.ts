import type { Account } from "./accounts.js";
import type { Authorization } from "./authorization.js";
import type { Call } from "./call.js";
import type { TelegramLibrary, TlFactory, TlObject } from "./library.js";
import { peerKey, peerOfRequest } from "./named-peer.js";
import { readSendMessage, type SendFields, sendFieldsOf } from "./send-fields.js";

/** A request as it came: the library parses it only when it is accessed. */
export class ApiCall implements Call {
  readonly method: string;
  readonly isConnect: boolean;
  /** Whose call it is. */
  readonly owner: Account;
  /** With which auth key it came. */
  readonly authorization: Authorization;
  readonly #query: Buffer;
  readonly #library: TelegramLibrary;
  readonly #sending: SendFields | undefined;
  #request: TlObject | undefined;
  #peer: string | null | undefined;

  constructor(
    authorization: Authorization,
    method: string,
    query: Buffer,
    isConnect: boolean,
    library: TelegramLibrary,
  ) {
    this.authorization = authorization;
    this.owner = authorization.account;
    this.method = method;
    this.isConnect = isConnect;
    this.#query = query;
    this.#library = library;
    this.#sending = readSendMessage(query, this.owner.userId);
  }

  get account(): string {
    return this.owner.name;
  }

  get request(): TlObject {
    this.#request ??= this.#library.read(this.#query);
    return this.#request;
  }

  /** What there is to send, of a request that sends a message. */
  get sending(): SendFields {
    return this.#sending ?? sendFieldsOf(this.request, this.owner.userId);
  }

  get peer(): string | null {
    if (this.#peer === undefined) this.#peer = this.#findPeer();
    return this.#peer;
  }

  get library(): TelegramLibrary {
    return this.#library;
  }

  get tl(): TlFactory {
    return this.#library.tl;
  }

  #findPeer(): string | null {
    const quick = this.#sending?.peer;
    if (quick !== undefined) return peerKey(quick);
    try {
      return peerOfRequest(this.request, this.owner.userId);
    } catch {
      // Of another layer: it names no peer of this server.
      return null;
    }
  }
}
