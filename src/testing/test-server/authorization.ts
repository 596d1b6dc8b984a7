import { randomBytes } from "node:crypto";
import type { Account } from "./accounts.js";
import { authKeyIdOf } from "./crypto.js";

/** One MTProto session: what the client numbers its messages by. GramJS makes one per connection. */
export interface WireSession {
  readonly id: bigint;
  /** Whether `new_session_created` was sent. */
  isAnnounced: boolean;
  /** How many content messages the server sent in it. */
  sent: number;
  /** Calls that were refused: a call chained to one of them is refused too. */
  readonly failed: Set<bigint>;
  /** Calls that are not answered yet, each with what waits for it. */
  readonly pending: Map<bigint, Array<() => void>>;
}

/** What a client says of itself in its `initConnection`. */
export interface ClientDescription {
  readonly apiId: number;
  readonly deviceModel: string;
  readonly systemVersion: string;
  readonly appVersion: string;
}

const WIRE_SESSIONS_KEPT = 16;
const FAILED_CALLS_KEPT = 256;
const MS = 1_000;

/** One auth key, and the account that is signed in with it: a guest at first. */
export class Authorization {
  readonly authKey: Buffer;
  readonly authKeyId: Buffer;
  /** The data center that knows the key. */
  readonly dcId: number;
  /** Its name in `account.getAuthorizations`. */
  readonly hash: bigint;
  /** Epoch seconds. */
  readonly createdAt: number;
  /** The account that is signed in with the key. */
  account: Account;
  /** The account that is signed in with this key once the password is right. */
  passwordNeededBy: Account | undefined;
  /** What the client must send with every packet. */
  salt: bigint;
  client: ClientDescription | undefined;
  readonly #wireSessions = new Map<bigint, WireSession>();

  constructor(authKey: Buffer, dcId: number, account: Account) {
    this.authKey = authKey;
    this.authKeyId = authKeyIdOf(authKey);
    this.dcId = dcId;
    this.hash = randomBytes(8).readBigInt64LE(0);
    this.createdAt = Math.floor(Date.now() / MS);
    this.account = account;
    this.salt = newSalt();
  }

  /** Expires the salt. */
  changeSalt(): void {
    this.salt = newSalt();
  }

  /** The wire session of that id, created if it is new. */
  wireSession(id: bigint): WireSession {
    const known = this.#wireSessions.get(id);
    if (known !== undefined) return known;
    const session: WireSession = { id, isAnnounced: false, sent: 0, failed: new Set(), pending: new Map() };
    this.#wireSessions.set(id, session);
    for (const oldest of this.#wireSessions.keys()) {
      if (this.#wireSessions.size <= WIRE_SESSIONS_KEPT) break;
      this.#wireSessions.delete(oldest);
    }
    return session;
  }
}

/** Never zero: that is what clients begin with. */
function newSalt(): bigint {
  return randomBytes(8).readBigInt64LE(0) | 1n;
}

/** Remembers that a call was refused, the newest {@link FAILED_CALLS_KEPT} of them. */
export function rememberFailure(session: WireSession, messageId: bigint): void {
  session.failed.add(messageId);
  for (const oldest of session.failed) {
    if (session.failed.size <= FAILED_CALLS_KEPT) break;
    session.failed.delete(oldest);
  }
}
