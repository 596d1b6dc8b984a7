import type { ResolvedAccountState } from "./account-state.js";
import type { Account, Accounts } from "./accounts.js";
import { RpcError } from "./call.js";
import type { TlFactory, TlObject } from "./library.js";

/**
 * Who is there. Users `user<n>` and channels `channel<n>` exist for every n, any other proper name is a user's, and
 * names that begin with `nobody` do not exist. The same name is the same peer in every test server.
 */
export type PeerReference = { readonly kind: "user" | "channel"; readonly id: number };

const FIRST_NUMBERED_USER = 100_000_000;
const FIRST_CHANNEL = 1_000_000_000;
const FIRST_NAMED_USER = 10_000_000_000;
const NUMBERED = /^(user|channel)(\d{1,8})$/;
const PROPER_NAME = /^[a-z][a-z0-9_]{3,31}$/;
const CHANNEL_DATE = 1_500_000_000;

/** FNV-1a: the same name gives the same number everywhere. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/** What others see of the state of an account, too. */
function stateFields(tl: TlFactory, { isPremium, restrictions }: ResolvedAccountState): object {
  return {
    ...(isPremium ? { premium: true } : {}),
    ...(restrictions.length === 0 ? {} : { restricted: true }),
    ...(restrictions.length === 0
      ? {}
      : {
          restrictionReason: restrictions.map(({ platform = "all", reason, text = "" }) =>
            tl("RestrictionReason", { platform, reason, text }),
          ),
        }),
  };
}

/** The users, channels and names of a test server, and who may speak of them. */
export class PeerDirectory {
  readonly #accounts: Accounts;
  readonly #names = new Map<number, string>();

  constructor(accounts: Accounts) {
    this.#accounts = accounts;
  }

  /** Who has that name. Throws USERNAME_INVALID and USERNAME_NOT_OCCUPIED as Telegram does. */
  resolve(username: string): PeerReference {
    const name = username.replace(/^@/, "").toLowerCase();
    if (!PROPER_NAME.test(name)) throw new RpcError(400, "USERNAME_INVALID");
    if (name.startsWith("nobody")) throw new RpcError(400, "USERNAME_NOT_OCCUPIED");
    const account = this.#accounts.named(name);
    if (account !== undefined) return { kind: "user", id: account.userId };
    const numbered = NUMBERED.exec(name);
    if (numbered?.[1] === "channel") return { kind: "channel", id: FIRST_CHANNEL + Number(numbered[2]) };
    if (numbered?.[1] === "user") return { kind: "user", id: FIRST_NUMBERED_USER + Number(numbered[2]) };
    const id = FIRST_NAMED_USER + hashOf(name);
    this.#names.set(id, name);
    return { kind: "user", id };
  }

  /** What that account has to show to speak of that peer. Another account's is worth nothing. */
  accessHash(account: Account, kind: "user" | "channel", id: number): bigint {
    const low = hashOf(`${account.name} ${kind} ${id}`);
    const high = hashOf(`${low} ${account.userId} ${id}`);
    return (BigInt(high & 0x7fffffff) << 32n) | BigInt(low);
  }

  /** The user as that account sees it. */
  user(tl: TlFactory, viewer: Account, id: number): TlObject {
    const account = this.#accounts.ofUser(id);
    const username = account?.name ?? this.#usernameOf(id);
    const isSelf = id === viewer.userId;
    return tl("User", {
      self: isSelf,
      id: BigInt(id),
      accessHash: this.accessHash(viewer, "user", id),
      firstName: username ?? `User ${id}`,
      ...(username === undefined ? {} : { username }),
      ...(isSelf ? { phone: viewer.phone } : {}),
      ...(account === undefined ? {} : stateFields(tl, account.state)),
    });
  }

  /** The channel as that account sees it. */
  channel(tl: TlFactory, viewer: Account, id: number): TlObject {
    return tl("Channel", {
      megagroup: true,
      id: BigInt(id),
      accessHash: this.accessHash(viewer, "channel", id),
      title: `Channel ${id - FIRST_CHANNEL}`,
      username: `channel${id - FIRST_CHANNEL}`,
      photo: tl("ChatPhotoEmpty"),
      date: CHANNEL_DATE,
    });
  }

  #usernameOf(id: number): string | undefined {
    if (id >= FIRST_NAMED_USER) return this.#names.get(id);
    return id < FIRST_CHANNEL ? `user${id - FIRST_NUMBERED_USER}` : undefined;
  }
}
