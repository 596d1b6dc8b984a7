import type { RowLists } from "./frames.js";
import type { Reading, Source } from "./source.js";

type ListName = keyof RowLists;

const LIST_NAMES: readonly ListName[] = ["sessions", "leases", "runs", "rejected"];

/** Names the rows of each list: their `key`, or their `id`. */
function keyOf(row: { readonly id?: string; readonly key?: string }): string {
  return row.key ?? row.id ?? "";
}

/** A row without the fields that say nothing, which are most of those of a session that is free. */
function compact(row: object): object {
  const short: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(row)) {
    if (value !== null && value !== false && !(Array.isArray(value) && value.length === 0)) short[name] = value;
  }
  return short;
}

/** The rows of one list as JSON, by their keys. */
class ListState {
  #rows = new Map<string, string>();

  /** Takes the rows over. Returns what has changed as JSON; `undefined` if nothing has. */
  update(rows: readonly object[]): string | undefined {
    const before = this.#rows;
    const after = new Map<string, string>();
    const changed: string[] = [];
    for (const row of rows) {
      const key = keyOf(row);
      const text = JSON.stringify(compact(row));
      after.set(key, text);
      if (before.get(key) !== text) changed.push(text);
    }
    this.#rows = after;
    const gone: string[] = [];
    if (before.size + changed.length > after.size) {
      for (const key of before.keys()) if (!after.has(key)) gone.push(key);
    }
    if (changed.length === 0 && gone.length === 0) return undefined;
    return `{"set":[${changed.join(",")}],"gone":${JSON.stringify(gone)}}`;
  }

  forget(): void {
    this.#rows = new Map();
  }

  /** All rows. */
  full(): string {
    return `{"set":[${[...this.#rows.values()].join(",")}],"gone":[]}`;
  }
}

/**
 * What was read last of one pool, and how it differs from what was read before. Rows are turned into JSON once for each
 * reading, whoever looks: messages are put together from their texts.
 */
export class PoolState {
  readonly source: Source;
  readonly #lists: Readonly<Record<ListName, ListState>> = {
    sessions: new ListState(),
    leases: new ListState(),
    runs: new ListState(),
    rejected: new ListState(),
  };
  #at = 0;
  /** When that was, by the time of the process. */
  #readAt = 0;
  #isStale = false;
  #status = "";
  /** Beginning of the last bucket that was sent: it goes on to change. */
  #lastBucketAt = Number.NEGATIVE_INFINITY;
  #lastBucket = "";
  #lastIncident = 0;
  #wasEnded = false;

  constructor(source: Source) {
    this.source = source;
  }

  /** Reads the source. Resolves with what has changed as JSON; `undefined` if nothing has. */
  async update(): Promise<string | undefined> {
    const { source } = this;
    if (this.#wasEnded) return undefined;
    const reading = await source.read();
    this.#at = reading.at;
    this.#readAt = performance.now();
    const isEnded = source.ended?.aborted === true;
    const parts = [
      this.#statusChange(reading),
      this.#listChanges(reading),
      this.#bucketChanges(),
      this.#newIncidents(),
      isEnded ? '"isEnded":true' : "",
      this.#isStale ? '"isStale":false' : "",
    ].filter((part) => part !== "");
    this.#wasEnded = isEnded;
    this.#isStale = false;
    return parts.length === 0 ? undefined : this.#frame(parts);
  }

  /** Notes that a reading has failed. Returns what has changed as JSON; `undefined` if nothing has. */
  fail(): string | undefined {
    if (this.#isStale) return undefined;
    this.#isStale = true;
    return this.#frame(['"isStale":true']);
  }

  /** Everything, as it was read last. */
  full(): string {
    const { source } = this;
    // Later ones come with the next change.
    const incidents = source.incidents(0).filter(({ number }) => number <= this.#lastIncident);
    const lists = LIST_NAMES.map((name) => `"${name}":${this.#lists[name].full()}`);
    return this.#frame([
      ...(this.#status === "" ? [] : [`"status":${this.#status}`]),
      `"lists":{${lists.join(",")}}`,
      `"buckets":${JSON.stringify(source.buckets(Number.NEGATIVE_INFINITY))}`,
      `"incidents":${JSON.stringify(incidents)}`,
      `"isEnded":${this.#wasEnded}`,
      `"isStale":${this.#isStale}`,
    ]);
  }

  /** Frees the memory of a state that nobody has asked for in a while. */
  forget(): void {
    for (const list of Object.values(this.#lists)) list.forget();
    this.#status = "";
    this.#lastBucketAt = Number.NEGATIVE_INFINITY;
    this.#lastBucket = "";
    this.#lastIncident = 0;
    this.#wasEnded = false;
    this.#isStale = false;
  }

  #frame(parts: readonly string[]): string {
    const at = this.#isStale ? this.#at + Math.round(performance.now() - this.#readAt) : this.#at;
    return `{"name":${JSON.stringify(this.source.name)},"at":${at},${parts.join(",")}}`;
  }

  #statusChange({ status }: Reading): string {
    const text = JSON.stringify(status);
    if (text === this.#status) return "";
    this.#status = text;
    return `"status":${text}`;
  }

  #listChanges(reading: Reading): string {
    const changes = LIST_NAMES.flatMap((name) => {
      const change = this.#lists[name].update(reading[name]);
      return change === undefined ? [] : [`"${name}":${change}`];
    });
    return changes.length === 0 ? "" : `"lists":{${changes.join(",")}}`;
  }

  #bucketChanges(): string {
    const buckets = this.source.buckets(this.#lastBucketAt);
    const last = buckets.at(-1);
    const text = JSON.stringify(buckets);
    if (last === undefined || text === this.#lastBucket) return "";
    this.#lastBucketAt = last.at;
    this.#lastBucket = JSON.stringify([last]);
    return `"buckets":${text}`;
  }

  #newIncidents(): string {
    const incidents = this.source.incidents(this.#lastIncident);
    const last = incidents.at(-1);
    if (last === undefined) return "";
    this.#lastIncident = last.number;
    return `"incidents":${JSON.stringify(incidents)}`;
  }
}
