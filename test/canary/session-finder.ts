/** The shortest piece of a known session that is found wherever it begins; what is shorter is looked at by nobody. */
export const SHORTEST_FIND = 39;

const BLOCK = 20;
const HEAD = 32;
const KEY_BLOCK = 8;
const LONGEST_HONEST_RUN = 200;
const KEY_BYTES = 256;

const runs = /[A-Za-z0-9+/_=-]{39,}/g;
const dumps = /(?:\b[0-9a-f]{2} ){15,}/g;
const lists = /(?:\b\d{1,3},\s*){15,}/g;

/** Blocks of every known session: any piece of `SHORTEST_FIND` characters holds one of them whole. */
const blocks = new Set<string>();
/** The same of their bytes. */
const byteBlocks = new Set<string>();

/** Makes a session string known, so that a piece of it is found, too. Not what is no session, and not its head, which all share. */
export function remember(session: string): void {
  if (session.length < LONGEST_HONEST_RUN || !isVaried(session, 16)) return;
  for (let at = HEAD; at + BLOCK <= session.length; at += BLOCK) {
    const block = session.slice(at, at + BLOCK);
    if (isVaried(block, 8)) blocks.add(block);
  }
  const key = Buffer.from(session.slice(1), "base64").subarray(-KEY_BYTES);
  for (let at = 0; at + KEY_BLOCK <= key.length; at += KEY_BLOCK) {
    const block = key.toString("latin1", at, at + KEY_BLOCK);
    if (isVaried(block, 4)) byteBlocks.add(block);
  }
}

/** Whether a text holds a session string: a run that only one can be, a piece of a known one, or bytes of its key. */
export function holdsSession(text: string): boolean {
  if (text.length < SHORTEST_FIND) return false;
  for (const [run] of text.matchAll(runs)) if (isSession(run)) return true;
  if (byteBlocks.size === 0) return false;
  for (const [dump] of text.matchAll(dumps)) if (holdsKey(Buffer.from(dump.replaceAll(" ", ""), "hex"))) return true;
  for (const [list] of text.matchAll(lists)) if (holdsKey(Buffer.from(list.split(",").map(Number)))) return true;
  return false;
}

function isSession(run: string): boolean {
  if (run.length >= LONGEST_HONEST_RUN && isVaried(run, 16)) return true;
  for (let at = 0; at + BLOCK <= run.length; at++) if (blocks.has(run.slice(at, at + BLOCK))) return true;
  return false;
}

function holdsKey(bytes: Buffer): boolean {
  for (let at = 0; at + KEY_BLOCK <= bytes.length; at++) {
    if (byteBlocks.has(bytes.toString("latin1", at, at + KEY_BLOCK))) return true;
  }
  return false;
}

/** A name or filler that is long, `xxx…`, is no key. */
function isVaried(text: string, characters: number): boolean {
  return new Set(text).size >= characters;
}
