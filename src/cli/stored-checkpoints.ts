import { RESERVED_PREFIXES } from "../options/validators.js";
import { isRunning, ownIdentity } from "../ownership/process-identity.js";
import { type CheckpointPart, parseHead, parsePart, type RunClaim } from "../storage/checkpoint/checkpoint-records.js";
import type { StoredRecord } from "../storage/storage.js";

/** The checkpoint of a `map`, by its records. */
export interface StoredCheckpoint {
  readonly name: string;
  /** Number of items whose outcome is known. */
  readonly done: number;
  /** Keys of the items that may have taken effect. */
  readonly uncertain: readonly string[];
  /** Whether its run is under way, as far as that can be known: a run of another host counts as such. */
  readonly isRunning: boolean;
}

/** The content of one record. */
type Content =
  | { readonly begun: readonly string[]; readonly isRunning: boolean }
  | { readonly part: CheckpointPart }
  | undefined;

const ID = new RegExp(`^${RESERVED_PREFIXES.map}(.*):(head|\\d+)$`, "s");

/** Reads checkpoints again and again: a record that has not changed is parsed once. */
export class CheckpointReader {
  #parsed = new Map<string, { readonly version: number; readonly content: Content }>();

  /** The checkpoints among all records of a storage, by name. Records that cannot be read are left out. */
  read(records: readonly StoredRecord[]): readonly StoredCheckpoint[] {
    const before = this.#parsed;
    this.#parsed = new Map();
    const contents = new Map<string, Exclude<Content, undefined>[]>();
    for (const record of records) {
      const name = ID.exec(record.id)?.[1];
      if (name === undefined) continue;
      const known = before.get(record.id);
      // Whether a process runs changes without its record.
      const isKnown = known?.version === record.version && !record.id.endsWith(":head");
      const content = isKnown ? known.content : contentOf(record);
      this.#parsed.set(record.id, { version: record.version, content });
      if (content !== undefined) contents.set(name, [...(contents.get(name) ?? []), content]);
    }
    return [...contents]
      .map(([name, parts]) => toCheckpoint(name, parts))
      .sort((one, other) => (one.name < other.name ? -1 : 1));
  }
}

function contentOf({ id, data }: StoredRecord): Content {
  try {
    if (!id.endsWith(":head")) return { part: parsePart(id, data) };
    const { claim, begun } = parseHead(id, data);
    return { begun, isRunning: claim !== null && mayRun(claim) };
  } catch {
    return undefined;
  }
}

/** Of a process of another host nothing is known. */
function mayRun(claim: RunClaim): boolean {
  const { host } = ownIdentity();
  return claim.host === null || claim.host !== host || isRunning(claim);
}

/** `done` takes precedence over `unknown`; what a run that has ended has begun and not finished is unknown. */
function toCheckpoint(name: string, contents: readonly Exclude<Content, undefined>[]): StoredCheckpoint {
  const done = new Set<string>();
  const unknown = new Set<string>();
  let isUnderWay = false;
  for (const content of contents) if ("part" in content) for (const key of content.part.done) done.add(key);
  for (const content of contents) {
    if ("part" in content) for (const key of content.part.unknown) unknown.add(key);
    else if (content.isRunning) isUnderWay = true;
    else for (const key of content.begun) unknown.add(key);
  }
  const uncertain = [...unknown].filter((key) => !done.has(key));
  return { name, done: done.size, uncertain, isRunning: isUnderWay };
}
