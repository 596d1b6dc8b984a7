import type { PeerField, PeerStorage, StoredPeer } from "../../../src/storage/storage.js";
import { Once } from "../once.js";
import { type Evaluate, pagesOf } from "./redis-client.js";

/** The keys of one prefix. */
export interface RedisKeys {
  readonly records: string;
  readonly counter: string;
  readonly channel: string;
  /** There once sessions are found by their peers; begins the keys of that index. */
  readonly index: string;
  peersOf(sessionId: string): string;
}

/** One hash tag for all: in a cluster they are on one node, as scripts demand. */
export function redisKeys(prefix: string): RedisKeys {
  return {
    records: `{${prefix}}:records`,
    counter: `{${prefix}}:counter`,
    channel: `{${prefix}}:changed`,
    index: `{${prefix}}:knowing`,
    peersOf: (sessionId) => `{${prefix}}:peers:${sessionId}`,
  };
}

/** Sessions whose peers are indexed at once, by one script each. */
const INDEXED_AT_ONCE = 20;

/**
 * Peers, in one hash per session.
 *
 * The first `knowing` creates the index, one hash for each peer id and for each username: until then no write maintains it.
 * A process with a version of this package that does not know the index writes peers that are not found by it.
 */
export function redisPeers(keys: RedisKeys, run: Evaluate): PeerStorage {
  const indexed = new Once<"all">(() => createIndex(keys, run));
  return {
    async load(sessionId) {
      const found = (await run(LOAD, [keys.peersOf(sessionId)], [])) as readonly unknown[];
      const saved = found.flatMap((text) => toSavedPeer(String(text)) ?? []);
      return saved.sort((left, right) => left.place - right.place).map(({ peer }) => peer);
    },
    async save(sessionId, peers) {
      const rows = peers.flatMap((peer) => [peer.id, peer.username ?? "", JSON.stringify(peer)]);
      if (rows.length > 0) await run(SAVE, [keys.peersOf(sessionId), keys.counter, keys.index], [sessionId, ...rows]);
    },
    async clear(sessionId) {
      const peers = keys.peersOf(sessionId);
      for await (const _ of pagesOf((cursor) => run(UNINDEX, [peers, keys.index], [sessionId, cursor])));
      await run(CLEAR, [peers], []);
    },
    async knowing(field, values) {
      await indexed.ensure("all");
      const holders = new Set<string>();
      for (const value of values) {
        const key = keyFor(keys, field, value);
        for await (const page of pagesOf((cursor) => run(HOLDERS, [key], [cursor])))
          for (let index = 0; index < page.length; index += 2) holders.add(page[index] ?? "");
      }
      return [...holders];
    },
  };
}

function keyFor({ index }: RedisKeys, field: PeerField, value: string): string {
  return field === "id" ? `${index}:${value}` : `${index}:@${value}`;
}

/** What other processes write meanwhile is indexed by their scripts. Safe to repeat, also by several at once. */
async function createIndex(keys: RedisKeys, run: Evaluate): Promise<void> {
  if ((await run(BEGIN_INDEX, [keys.index], [])) === INDEX_IS_COMPLETE) return;
  for await (const ids of pagesOf((cursor) => run(SESSION_IDS, [keys.records], [cursor]))) {
    const left = ids.values();
    const indexNext = async (): Promise<void> => {
      for (const id of left) {
        const peers = keys.peersOf(id);
        for await (const _ of pagesOf((cursor) => run(INDEX, [peers, keys.index], [id, cursor])));
      }
    };
    await Promise.all(Array.from({ length: INDEXED_AT_ONCE }, indexNext));
  }
  await run(COMPLETE_INDEX, [keys.index], []);
}

/** Unreadable entries of the peer cache are omitted. */
function toSavedPeer(text: string): { readonly place: number; readonly peer: StoredPeer } | undefined {
  const parts = /^(\d+):(.*)$/s.exec(text);
  try {
    const peer: StoredPeer = JSON.parse(parts?.[2] ?? "");
    return typeof peer.id === "string" && typeof peer.accessHash === "string"
      ? { place: Number(parts?.[1]), peer }
      : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The index holds, for a peer id and for a username, by session id the id of the peer. A username may have moved from one
 * peer of a session to another: it is removed only from the peer that it belongs to.
 */
const INDEXING = `
local function usernameIn(text)
  local isRead, peer = pcall(cjson.decode, string.match(text or '', '^%d+:(.*)$') or '')
  if isRead and type(peer) == 'table' and type(peer.username) == 'string' then return peer.username end
  return ''
end
local function index(prefix, session, id, username)
  redis.call('HSET', prefix .. ':' .. id, session, id)
  if username ~= '' then redis.call('HSET', prefix .. ':@' .. username, session, id) end
end
local function removeUsername(prefix, session, id, username)
  local key = prefix .. ':@' .. username
  if username ~= '' and redis.call('HGET', key, session) == id then redis.call('HDEL', key, session) end
end`;

/**
 * Peers are "<number>:<JSON>" in one hash per session, the number counting up. Keys: peers, counter, index. Parameters:
 * session id, then id, username or "", and JSON of each.
 */
const SAVE = `${INDEXING}
local isIndexed = redis.call('EXISTS', KEYS[3]) == 1
for i = 2, #ARGV, 3 do
  local id, username = ARGV[i], ARGV[i + 1]
  if isIndexed then
    local former = usernameIn(redis.call('HGET', KEYS[1], id))
    if former ~= username then removeUsername(KEYS[3], ARGV[1], id, former) end
    index(KEYS[3], ARGV[1], id, username)
  end
  redis.call('HSET', KEYS[1], id, string.format('%.0f', redis.call('INCR', KEYS[2])) .. ':' .. ARGV[i + 2])
end`;

/** Keys: peers. */
const LOAD = "return redis.call('HVALS', KEYS[1])";

/** Keys: peers. */
const CLEAR = "return redis.call('DEL', KEYS[1])";

/** Removes a page of a session's peers from the index, if there is one. Keys: peers, index. Parameters: session id, cursor. */
const UNINDEX = `${INDEXING}
if redis.call('EXISTS', KEYS[2]) == 0 then return {'0', {}} end
local page = redis.call('HSCAN', KEYS[1], ARGV[2], 'COUNT', 500)
for i = 1, #page[2], 2 do
  redis.call('HDEL', KEYS[2] .. ':' .. page[2][i], ARGV[1])
  removeUsername(KEYS[2], ARGV[1], page[2][i], usernameIn(page[2][i + 1]))
end
return {page[1], {}}`;

/** Adds a page of a session's peers to the index. Keys: peers, index. Parameters: session id, cursor. */
const INDEX = `${INDEXING}
local page = redis.call('HSCAN', KEYS[1], ARGV[2], 'COUNT', 500)
for i = 1, #page[2], 2 do index(KEYS[2], ARGV[1], page[2][i], usernameIn(page[2][i + 1])) end
return {page[1], {}}`;

/** One page. Keys: records. Parameters: cursor. */
const SESSION_IDS = `
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', 1000)
local ids = {}
for i = 1, #page[2], 2 do ids[#ids + 1] = page[2][i] end
return {page[1], ids}`;

/** One page. Keys: a peer's hash in the index. Parameters: cursor. */
const HOLDERS = "return redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', 1000)";

const INDEX_IS_COMPLETE = "complete";

/** From now on writes maintain the index. Returns whether it is complete. Keys: index. */
const BEGIN_INDEX = `
redis.call('SET', KEYS[1], 'incomplete', 'NX')
return redis.call('GET', KEYS[1])`;

/** Keys: index. */
const COMPLETE_INDEX = `return redis.call('SET', KEYS[1], '${INDEX_IS_COMPLETE}')`;
