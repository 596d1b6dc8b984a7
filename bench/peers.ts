import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import bigInt from "big-integer";
import { Api } from "telegram";
import { StringSession } from "telegram/sessions/index.js";
import { loadGramjs } from "../adapters/client/gramjs/library.js";
import { sessionClass } from "../adapters/client/mtproto/session.js";
import { memory } from "../src/index.js";
import { PeerCacheWriter } from "../src/storage/peer-cache-writer.js";
import { fakeContext } from "../test/fakes/pool-context.js";

const ROUNDS = 1_000_000;
const USERS = 1_000;
/** GramJS looks through every row it has kept: fewer look-ups are enough to measure it. */
const LOOKUPS = { ours: 100_000, theirs: 50 };
const MOST_HEAP_MB = 5;

/** The part of a session that is measured. */
interface Session {
  processEntities(result: unknown): void;
  getInputEntity(key: unknown): unknown;
}

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

function heapMb(): number {
  for (let pass = 0; pass < 3; pass++) collect();
  return process.memoryUsage().heapUsed / 2 ** 20;
}

/** A user as a new answer of Telegram's brings it: no object is an earlier one's. */
function userOf(number: number): Api.User {
  return new Api.User({
    id: bigInt(5_000_000_000 + number),
    accessHash: bigInt(`80000000000000${number}`),
    username: `member${number}`,
    phone: `49171${1_000_000 + number}`,
    firstName: "Member",
    lastName: `Number ${number}`,
  });
}

/** Milliseconds for one look-up; a miss throws. */
function lookUp(session: Session, count: number, key: (number: number) => unknown): number {
  const start = performance.now();
  for (let index = 0; index < count; index++) {
    try {
      session.getInputEntity(key(index % USERS));
    } catch {
      // A miss: the client would ask Telegram now.
    }
  }
  return (performance.now() - start) / count;
}

interface Measured {
  readonly answers: number;
  readonly "heap MB": string;
  readonly "µs per answer": string;
  readonly [lookUp: `ms ${string}`]: string;
}

function measure(session: Session, lookups: number): Measured {
  const before = heapMb();
  let spentMs = 0;
  for (let round = 0; round < ROUNDS; round += USERS) {
    const answers = Array.from({ length: USERS }, (_, number) => ({ users: [userOf(number)], chats: [] }));
    const start = performance.now();
    for (const answer of answers) session.processEntities(answer);
    spentMs += performance.now() - start;
  }
  const grown = heapMb() - before;
  const ms = (key: (number: number) => unknown): string => lookUp(session, lookups, key).toFixed(4);
  return {
    answers: ROUNDS,
    "heap MB": grown.toFixed(1),
    "µs per answer": ((spentMs * 1_000) / ROUNDS).toFixed(2),
    "ms id, hit": ms((number) => 5_000_000_000 + number),
    "ms id, miss": ms((number) => 1 + number),
    "ms username, hit": ms((number) => `member${number}`),
    "ms username, miss": ms((number) => `stranger${number}`),
  };
}

const context = fakeContext({ connectTimeoutMs: 10_000 });
context.events.on("storageFailed", (error) => {
  throw error;
});
const journal = new PeerCacheWriter(context, memory().peers);
const PooledSession = sessionClass(await loadGramjs());
const ours = measure(new PooledSession("", journal.for("bench")) as unknown as Session, LOOKUPS.ours);
await journal.flush();
const theirs = measure(new StringSession("") as unknown as Session, LOOKUPS.theirs);
console.log(
  `${ROUNDS.toLocaleString("en")} answers about ${USERS.toLocaleString("en")} users; look-ups: ${LOOKUPS.ours} in the pool's session, ${LOOKUPS.theirs} in GramJS's.`,
);
console.table({ "the pool's session": ours, "GramJS's StringSession": theirs });
if (Number(ours["heap MB"]) >= MOST_HEAP_MB) {
  console.error(`The pool's session has grown by ${MOST_HEAP_MB} MB or more.`);
  process.exitCode = 1;
}
