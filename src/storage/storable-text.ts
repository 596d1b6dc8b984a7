import type { StoredPeer } from "./storage.js";

/** The longest id of a session, in bytes of UTF-8: what the keys and indexes of every usual database hold. */
export const LONGEST_ID_BYTES = 512;

/** U+0000, which Postgres has no place for, and halves of surrogate pairs, which UTF-8 has none for. */
const UNSTORABLE = /\0|\p{Surrogate}/u;
const ALL_UNSTORABLE: RegExp = new RegExp(UNSTORABLE, "gu");

/** Whether every storage keeps the text as it is. */
export function isStorable(text: string): boolean {
  return !UNSTORABLE.test(text);
}

/** Whether every storage keeps the text as an id. */
export function isStorableId(id: string): boolean {
  return isStorable(id) && Buffer.byteLength(id) <= LONGEST_ID_BYTES;
}

/** The peer with what no storage keeps replaced in its names: people choose them, and one must not fail a whole batch. */
export function storablePeer(peer: StoredPeer): StoredPeer {
  const { username, phone, name } = peer;
  if ([username, phone, name].every((text) => text === undefined || isStorable(text))) return peer;
  return {
    ...peer,
    ...(username === undefined ? {} : { username: storable(username) }),
    ...(phone === undefined ? {} : { phone: storable(phone) }),
    ...(name === undefined ? {} : { name: storable(name) }),
  };
}

function storable(text: string): string {
  return text.replaceAll(ALL_UNSTORABLE, "\uFFFD");
}
