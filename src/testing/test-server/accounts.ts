import { randomBytes } from "node:crypto";
import { type AccountState, changedState, DEFAULT_STATE, type ResolvedAccountState } from "./account-state.js";
import { Authorization } from "./authorization.js";
import { authKeyOfSession, dataCenterOfSession, mintSession } from "./session-string.js";

/** An account of the test server. */
export interface TestServerAccount {
  /** Its name in rules and records; also its username. */
  readonly name: string;
  /** Its user id. */
  readonly userId: number;
  /** Its StringSession. */
  readonly session: string;
  /** Its phone number, digits only. */
  readonly phone: string;
}

/** An account to make. */
export interface AccountOptions extends AccountState {
  /** @default "account<n>" */
  readonly name?: string;
  /** A StringSession minted by an earlier test server, to go on with. @default a new one with a random auth key */
  readonly session?: string;
  /** Its phone number, for signing in. @default "99966" and seven digits, as no real number begins */
  readonly phone?: string;
  /** The login code that is sent. @default five random digits, new each time */
  readonly code?: string;
  /** The password of its two-step verification. @default none */
  readonly password?: string;
  /** The hint of that password. @default none */
  readonly passwordHint?: string;
  /** The data center in which it lives: one of the server's `dataCenters`. @default the first of them */
  readonly dcId?: number;
}

const FIRST_USER_ID = 700_000_000;
const FIRST_PHONE = 99_966_0000000;
const RANDOM_IDS_KEPT = 50_000;
const AUTH_KEY_BYTES = 256;

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

type AccountFields = Omit<TestServerAccount, "session"> &
  Pick<AccountOptions, "code" | "password" | "passwordHint"> & { readonly dcId: number; readonly isGuest: boolean };

/** The server's side of an account, or of a client that has not signed in. */
export class Account implements TestServerAccount {
  readonly name: string;
  readonly userId: number;
  readonly phone: string;
  readonly dcId: number;
  readonly code: string | undefined;
  readonly password: string | undefined;
  readonly passwordHint: string | undefined;
  /** Whether the client is not signed in. */
  readonly isGuest: boolean;
  session = "";
  /** What Telegram says of it. */
  state: ResolvedAccountState = DEFAULT_STATE;
  /** Random ids of messages it sent: one executes once. */
  readonly randomIds: RecentIds = new RecentIds();

  constructor(fields: AccountFields) {
    this.name = fields.name;
    this.userId = fields.userId;
    this.phone = fields.phone;
    this.dcId = fields.dcId;
    this.code = fields.code;
    this.password = fields.password;
    this.passwordHint = fields.passwordHint;
    this.isGuest = fields.isGuest;
  }
}

/** The digits of a phone number. */
export function digitsOf(phone: string): string {
  return phone.replace(/\D/g, "");
}

/** The accounts of a test server, by name, by auth key and by user; and the keys, each with its account. */
export class Accounts {
  readonly #byName = new Map<string, Account>();
  readonly #byKeyId = new Map<bigint, Authorization>();
  readonly #byUserId = new Map<number, Account>();
  readonly #byPhone = new Map<string, Account>();
  #guests = 0;

  /**
   * Throws a `TypeError` when the name, the phone number or the auth key is taken. `portOf`: where a data center
   * listens; `homeDc`: where an account lives that names none.
   */
  add(options: AccountOptions, host: string, homeDc: number, portOf: (dcId: number) => number): Account {
    const number = this.#byName.size + 1;
    const name = options.name ?? `account${number}`;
    const { session: given } = options;
    const dcId = options.dcId ?? (given === undefined ? homeDc : dataCenterOfSession(given));
    const session = given ?? mintSession(randomBytes(AUTH_KEY_BYTES), { dcId, host, port: portOf(dcId) });
    const phone = digitsOf(options.phone ?? String(FIRST_PHONE + number));
    const account = new Account({ ...options, name, userId: FIRST_USER_ID + number, phone, dcId, isGuest: false });
    account.session = session;
    account.state = changedState(DEFAULT_STATE, options);
    const authorization = new Authorization(authKeyOfSession(session), dcId, account);
    if (this.#byName.has(name)) throw new TypeError(`There is an account ${name} already`);
    if (this.#byPhone.has(phone)) throw new TypeError(`The phone number of ${name} is another account's`);
    if (this.#byKeyId.has(keyIdOf(authorization))) throw new TypeError(`The session of ${name} is another account's`);
    this.#byName.set(name, account);
    this.#byKeyId.set(keyIdOf(authorization), authorization);
    this.#byUserId.set(account.userId, account);
    this.#byPhone.set(phone, account);
    return account;
  }

  /** Takes in a new auth key, that is not signed in. */
  addKey(authKey: Buffer, dcId: number): Authorization {
    const authorization = new Authorization(authKey, dcId, this.#guest(dcId));
    this.#byKeyId.set(keyIdOf(authorization), authorization);
    return authorization;
  }

  /** Ends an authorization: its key is a guest's again. */
  signOut(authorization: Authorization): void {
    authorization.passwordNeededBy = undefined;
    authorization.account = this.#guest(authorization.dcId);
  }

  all(): readonly Account[] {
    return [...this.#byName.values()];
  }

  named(name: string): Account | undefined {
    return this.#byName.get(name);
  }

  ofKey(authKeyId: bigint): Authorization | undefined {
    return this.#byKeyId.get(authKeyId);
  }

  ofUser(userId: number): Account | undefined {
    return this.#byUserId.get(userId);
  }

  ofPhone(phone: string): Account | undefined {
    return this.#byPhone.get(digitsOf(phone));
  }

  /** The keys with which an account is signed in, the oldest first. */
  authorizationsOf(account: Account): readonly Authorization[] {
    return [...this.#byKeyId.values()].filter((authorization) => authorization.account === account);
  }

  #guest(dcId: number): Account {
    this.#guests += 1;
    return new Account({ name: `guest${this.#guests}`, userId: 0, phone: "", dcId, isGuest: true });
  }
}

function keyIdOf(authorization: Authorization): bigint {
  return authorization.authKeyId.readBigInt64LE(0);
}
