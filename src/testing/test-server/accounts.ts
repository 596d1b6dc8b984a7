import { randomBytes } from "node:crypto";
import { authKeyIdOf } from "./crypto.js";
import { authKeyOfSession, mintSession } from "./session-string.js";

/** An account of the test server. */
export interface TestServerAccount {
  /** Its name in rules and records; also its username. */
  readonly name: string;
  /** Its user id. */
  readonly userId: number;
  /** Its StringSession. */
  readonly session: string;
}

/** An account to make. */
export interface AccountOptions {
  /** @default "account<n>" */
  readonly name?: string;
  /** A StringSession minted by an earlier test server, to go on with. @default a new one with a random auth key */
  readonly session?: string;
}

/** One MTProto session: what the client numbers its messages by. GramJS makes one per connection. */
export interface WireSession {
  readonly id: bigint;
  /** Whether the client was told that the server knows the session. */
  isAnnounced: boolean;
  /** How many content messages the server sent in it. */
  sent: number;
  /** Calls that were refused: a call chained to one of them is refused too. */
  readonly failed: Set<bigint>;
  /** Calls that are not answered yet, each with what waits for it. */
  readonly pending: Map<bigint, Array<() => void>>;
}

const FIRST_USER_ID = 700_000_000;
const WIRE_SESSIONS_KEPT = 16;
const FAILED_CALLS_KEPT = 256;
const RANDOM_IDS_KEPT = 50_000;

/** Remembers the newest ids, at least {@link RANDOM_IDS_KEPT} of them. */
class RecentIds {
  #young = new Set<bigint>();
  #old = new Set<bigint>();

  /** Whether the id is new; it is remembered from now on. */
  add(id: bigint): boolean {
    if (this.#young.has(id) || this.#old.has(id)) return false;
    this.#young.add(id);
    if (this.#young.size >= RANDOM_IDS_KEPT) {
      this.#old = this.#young;
      this.#young = new Set();
    }
    return true;
  }
}

/** The server's side of an account. */
export class Account implements TestServerAccount {
  readonly name: string;
  readonly userId: number;
  readonly session: string;
  readonly authKey: Buffer;
  readonly authKeyId: Buffer;
  /** What the client has to send with every packet. */
  salt: bigint;
  /** Random ids of messages it sent: one executes once. */
  readonly randomIds: RecentIds = new RecentIds();
  readonly #wireSessions = new Map<bigint, WireSession>();

  constructor(name: string, userId: number, session: string) {
    this.name = name;
    this.userId = userId;
    this.session = session;
    this.authKey = authKeyOfSession(session);
    this.authKeyId = authKeyIdOf(this.authKey);
    this.salt = newSalt();
  }

  /** Expires the salt. */
  changeSalt(): void {
    this.salt = newSalt();
  }

  /** The wire session of that id, made when it is new. */
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

/** The accounts of a test server, by name, by auth key and by user. */
export class Accounts {
  readonly #byName = new Map<string, Account>();
  readonly #byKeyId = new Map<bigint, Account>();
  readonly #byUserId = new Map<number, Account>();

  /** Throws a `TypeError` when the name or the auth key is taken. */
  add(options: AccountOptions, host: string, port: number): Account {
    const number = this.#byName.size + 1;
    const name = options.name ?? `account${number}`;
    const session = options.session ?? mintSession(randomBytes(256), host, port);
    const account = new Account(name, FIRST_USER_ID + number, session);
    const keyId = account.authKeyId.readBigInt64LE(0);
    if (this.#byName.has(name)) throw new TypeError(`There is an account ${name} already`);
    if (this.#byKeyId.has(keyId)) throw new TypeError(`The session of ${name} is another account's`);
    this.#byName.set(name, account);
    this.#byKeyId.set(keyId, account);
    this.#byUserId.set(account.userId, account);
    return account;
  }

  all(): readonly Account[] {
    return [...this.#byName.values()];
  }

  named(name: string): Account | undefined {
    return this.#byName.get(name);
  }

  ofKey(authKeyId: bigint): Account | undefined {
    return this.#byKeyId.get(authKeyId);
  }

  ofUser(userId: number): Account | undefined {
    return this.#byUserId.get(userId);
  }
}
