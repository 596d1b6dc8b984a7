/** The keys of one prefix. One hash tag for all: in a cluster they are on one node, as scripts demand. */
export function redisKeys(prefix: string): {
  readonly records: string;
  readonly counter: string;
  readonly channel: string;
  peersOf(sessionId: string): string;
} {
  return {
    records: `{${prefix}}:records`,
    counter: `{${prefix}}:counter`,
    channel: `{${prefix}}:changed`,
    peersOf: (sessionId) => `{${prefix}}:peers:${sessionId}`,
  };
}

/**
 * Compare-and-set, in one step as every script. A record is "<version>:<data>" in one hash. Versions come from a counter
 * of the whole store, so that a re-created record goes on above its old ones. The message is a hint: where publishing is
 * not allowed the write stands all the same. A text of another form is a damaged record, which counts as version 1.
 * Keys: records, counter. Parameters: id, expected, "set" or "delete", data, channel, writer.
 */
export const WRITE = `
local found = redis.call('HGET', KEYS[1], ARGV[1])
local current = '0'
if found then
  current = string.match(found, '^([1-9]%d*):') or '1'
  if #current > 16 or tonumber(current) > 9007199254740991 then current = '1' end
end
if current ~= ARGV[2] or (ARGV[3] == 'delete' and not found) then return false end
local counter = redis.call('INCR', KEYS[2])
local version = math.max(counter, tonumber(current) + 1)
local text = string.format('%.0f', version)
if version > counter then redis.call('SET', KEYS[2], text) end
if ARGV[3] == 'delete' then redis.call('HDEL', KEYS[1], ARGV[1])
else redis.call('HSET', KEYS[1], ARGV[1], text .. ':' .. ARGV[4]) end
redis.pcall('PUBLISH', ARGV[5], ARGV[6] .. ' ' .. ARGV[1])
return version`;

/** Keys: records. Parameters: id. */
export const READ = "return redis.call('HGET', KEYS[1], ARGV[1])";

/**
 * One page: the next cursor, then ids and records in turn. What is there from the first page to the last is in one of
 * them; what is in two counts as last seen. Keys: records. Parameters: cursor.
 */
export const LIST = "return redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', 1000)";

/** Peers are "<number>:<JSON>" in one hash per session, the number counting up. Keys: peers, counter. Parameters: id, JSON, … */
export const SAVE_PEERS = `
for i = 1, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], string.format('%.0f', redis.call('INCR', KEYS[2])) .. ':' .. ARGV[i + 1])
end`;

/** Keys: peers. */
export const LOAD_PEERS = "return redis.call('HVALS', KEYS[1])";

/** Keys: peers. */
export const CLEAR_PEERS = "return redis.call('DEL', KEYS[1])";

/** The server's memory settings, or nothing where it does not tell. */
export const MEMORY =
  "local info = redis.pcall('INFO', 'memory') if type(info) == 'table' then return '' end return info";

/** Works everywhere, and tells nothing. */
export const NOOP_SCRIPT = "return 1";
