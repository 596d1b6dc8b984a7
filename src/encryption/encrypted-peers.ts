import { OptionsError, StorageError } from "../errors.js";
import { describeType, isStorable, RESERVED_PREFIXES } from "../options/validators.js";
import type { PeerField, PeerStorage, StoredPeer } from "../storage/storage.js";
import { isFresh, type Sealer } from "./sealer.js";

/**
 * Peers whose access hash, username, phone and name are one sealed text, kept where the access hash would be. The
 * peer's id stays in the open: the storage replaces a peer by it. Where the username would be there is its blind index, if
 * the sealer makes one: the peer is found by it, and it is read for nothing else.
 *
 * A row that cannot be decrypted is left out: peers are a cache, and Telegram sends them again. `save` rejects as
 * the sealer does, and writes nothing then. All peers of a call are sealed or opened at once. `knowing` a username rejects
 * with `OptionsError` if the sealer makes no blind indexes.
 */
export function encryptedPeerStorage(peers: PeerStorage, sealer: Sealer): PeerStorage {
  return {
    async load(sessionId) {
      const rows = await peers.load(sessionId);
      const texts = await together(rows.map((row) => openOrNothing(sealer, sessionId, row)));
      return rows.flatMap((row, index) => toPeer(row, texts[index]) ?? []);
    },
    async save(sessionId, known) {
      const [texts, names] = await Promise.all([
        together(known.map((peer) => sealOrReject(sealer, sessionId, peer))),
        together(known.map(({ username }) => blindIndexOrReject(sealer, username))),
      ]);
      await peers.save(
        sessionId,
        known.map(({ id }, index) => sealedRow(id, texts[index], names[index])),
      );
    },
    async clear(sessionId) {
      await peers.clear(sessionId);
    },
    ...(peers.knowing === undefined ? {} : { knowing: (...query) => knowing(peers, sealer, ...query) }),
  };
}

/**
 * Returns whether the rows of a session are as `save` would write them now. Rows that an older version of this package has
 * sealed have no blind index.
 */
export async function arePeersCurrent(
  sealer: Sealer,
  sessionId: string,
  rows: readonly StoredPeer[],
): Promise<boolean> {
  if (!rows.every(({ accessHash }) => isFresh(sealer, accessHash))) return false;
  if (sealer.blindIndexes === undefined) return true;
  const unnamed = rows.filter(({ username }) => username === undefined);
  const texts = await together(unnamed.map((row) => openOrNothing(sealer, sessionId, row)));
  return unnamed.every((row, index) => toPeer(row, texts[index])?.username === undefined);
}

async function knowing(
  peers: PeerStorage,
  sealer: Sealer,
  field: PeerField,
  values: readonly string[],
): Promise<readonly string[]> {
  if (field === "id") return (await peers.knowing?.(field, values)) ?? [];
  if (sealer.blindIndexes === undefined) {
    throw new OptionsError(
      'knows: the usernames of peers are encrypted, and this encryption has no blindIndexes() to find them by. Add it to the Sealer, or name the peer by its id ("channel:1234567890").',
    );
  }
  const indexes: string[] = [];
  for (const value of values) indexes.push(...checkedIndexes(await sealer.blindIndexes(value)));
  return (await peers.knowing?.(field, indexes)) ?? [];
}

function sealedRow(id: string, text: string | undefined, username: string | undefined): StoredPeer {
  return { id, accessHash: checkedText(text), ...(username === undefined ? {} : { username }) };
}

/** Returns the blind index that is stored beside a peer. Rejects instead of throwing, as {@link sealOrReject}. */
function blindIndexOrReject(sealer: Sealer, username: string | undefined): MaybeLater<string | undefined> {
  if (username === undefined || sealer.blindIndexes === undefined) return undefined;
  try {
    const indexes = sealer.blindIndexes(username);
    return indexes instanceof Promise ? indexes.then(firstIndex) : firstIndex(indexes);
  } catch (error) {
    return Promise.reject(error);
  }
}

function firstIndex(indexes: readonly string[]): string | undefined {
  return checkedIndexes(indexes)[0];
}

/** Validates the result of a sealer, which may be the user's. */
function checkedIndexes(indexes: unknown): readonly string[] {
  const isText = (index: unknown): boolean => typeof index === "string" && index !== "" && isStorable(index);
  if (Array.isArray(indexes) && indexes.length > 0 && indexes.every(isText)) return indexes;
  throw new StorageError(
    `The encryption's blindIndexes() must return non-empty texts, at least one; it returned ${describeType(indexes)}.`,
  );
}

/** Validates the result of a sealer, which may be the user's. */
function checkedText(text: unknown): string {
  if (typeof text === "string" && text !== "") return text;
  throw new StorageError(`The encryption's seal() must return a non-empty text; it returned ${describeType(text)}.`);
}

/** Returns the id that a peer is sealed for. JSON keeps ids distinct; the reserved prefix keeps them apart from records. */
function placeOf(sessionId: string, peerId: string): string {
  return RESERVED_PREFIXES.key + JSON.stringify([sessionId, peerId]);
}

function textOf({ accessHash, username, phone, name }: StoredPeer): string {
  return JSON.stringify({ accessHash, username, phone, name });
}

type MaybeLater<T> = T | Promise<T>;

/** Returns the values in order; a promise only if one of them is a promise, as most sealers are synchronous. */
function together<T extends string | undefined>(values: readonly MaybeLater<T>[]): MaybeLater<readonly T[]> {
  const isAllHere = (list: readonly MaybeLater<T>[]): list is readonly T[] =>
    list.every((value) => typeof value !== "object");
  return isAllHere(values) ? values : Promise.all(values);
}

/** Rejects instead of throwing: a throw would leave the promises of earlier peers unhandled. */
function sealOrReject(sealer: Sealer, sessionId: string, peer: StoredPeer): MaybeLater<string> {
  try {
    return sealer.seal(placeOf(sessionId, peer.id), textOf(peer));
  } catch (error) {
    return Promise.reject(error);
  }
}

function openOrNothing(sealer: Sealer, sessionId: string, row: StoredPeer): MaybeLater<string | undefined> {
  try {
    const text = sealer.open(placeOf(sessionId, row.id), row.accessHash);
    if (typeof text === "string") return text;
    return Promise.resolve(text).then(textOrNothing, () => undefined);
  } catch {
    return undefined;
  }
}

function textOrNothing(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** Converts a row to a peer. A row whose text the sealer returns unchanged was never sealed, and is a peer already. */
function toPeer(row: StoredPeer, text: string | undefined): StoredPeer | undefined {
  const sealed = text === undefined ? undefined : peerIn(row.id, text);
  return sealed ?? (text === row.accessHash ? row : undefined);
}

function peerIn(id: string, text: string): StoredPeer | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null) return undefined;
    const { accessHash, username, phone, name } = value as Readonly<Record<string, unknown>>;
    if (typeof accessHash !== "string") return undefined;
    if (!isTextOrNone(username) || !isTextOrNone(phone) || !isTextOrNone(name)) return undefined;
    return {
      id,
      accessHash,
      ...(username === undefined ? {} : { username }),
      ...(phone === undefined ? {} : { phone }),
      ...(name === undefined ? {} : { name }),
    };
  } catch {
    return undefined;
  }
}

function isTextOrNone(value: unknown): value is string | undefined {
  return value === undefined || typeof value === "string";
}
