import { accessSync, constants, statSync } from "node:fs";
import { dirname } from "node:path";
import { isSealedText } from "../../encryption/sealer.js";
import { isReserved } from "../../options/validators.js";
import { decodeRecord, type SessionRecord } from "../../storage/record.js";
import type { StoredRecord } from "../../storage/storage.js";
import type { NamedStorage } from "../storage-url.js";
import { type Finding, fail, messageOf, ok, warn } from "./finding.js";
import { judgeClock } from "./system-checks.js";

/** Who can access the file of a SQLite storage: read access to it is access to the accounts. */
export function checkFile(path: string): readonly Finding[] {
  if (process.platform === "win32") return [];
  const { mode, uid } = statSync(path);
  const own = process.geteuid?.();
  const findings: Finding[] = [
    (mode & 0o077) === 0
      ? ok("file mode", `${path} is its owner's alone (${(mode & 0o777).toString(8)})`)
      : fail("file mode", `other users can reach ${path} (${(mode & 0o777).toString(8)})`, `chmod 600 ${path}`),
    own === undefined || own === uid
      ? ok("file owner", "this user")
      : fail("file owner", `user ${uid} owns ${path}, and this process runs as ${own}`, `chown ${own} ${path}`),
  ];
  const folder = dirname(path);
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
  } catch {
    findings.push(
      fail("folder", `${folder} is not writable, and SQLite keeps its journal beside the file`, `chmod u+wx ${folder}`),
    );
  }
  return findings;
}

/** Whether what the storage acknowledges survives a crash of its server. */
export async function checkDurability({ kind, ask }: NamedStorage): Promise<readonly Finding[]> {
  if (kind === "sqlite") return [ok("durability", "a write that is acknowledged survives a power cut")];
  try {
    return kind === "redis" ? await checkRedis(ask) : await checkPostgres(ask);
  } catch (error) {
    return [
      warn(
        "durability",
        `the server does not show its settings (${messageOf(error)})`,
        "Look them up where the server is administered: docs/storage.md says which.",
      ),
    ];
  }
}

async function checkRedis(ask: NamedStorage["ask"]): Promise<readonly Finding[]> {
  const setting = async (name: string): Promise<string> => {
    const answer = await ask(`CONFIG GET ${name}`);
    const values: unknown = Array.isArray(answer) ? answer[1] : Object(answer)[name];
    return String(values ?? "");
  };
  const [appendOnly, fsync, policy] = [
    await setting("appendonly"),
    await setting("appendfsync"),
    await setting("maxmemory-policy"),
  ];
  const isKept = appendOnly === "yes";
  const durability = !isKept
    ? fail(
        "durability",
        "appendonly is off: a crash of the server loses accounts, cooldowns and claims",
        "CONFIG SET appendonly yes, and the same in redis.conf.",
      )
    : fsync === "always"
      ? ok("durability", "appendonly yes, appendfsync always")
      : warn(
          "durability",
          `appendfsync ${fsync}: a crash of the server may lose up to a second of writes, and two processes may then hold one account`,
          "CONFIG SET appendfsync always where that matters.",
        );
  const eviction = /^(noeviction|volatile-)/.test(policy)
    ? ok("eviction", `maxmemory-policy ${policy} keeps the accounts`)
    : fail("eviction", `maxmemory-policy ${policy} may evict accounts`, "CONFIG SET maxmemory-policy noeviction");
  return [durability, eviction, ...(await redisClock(ask))];
}

async function redisClock(ask: NamedStorage["ask"]): Promise<readonly Finding[]> {
  const askedAt = Date.now();
  const answer = await ask("TIME");
  const answeredAt = Date.now();
  if (!Array.isArray(answer)) return [];
  const [seconds, microseconds] = answer.map(Number);
  const server = Number(seconds) * 1000 + Number(microseconds) / 1000;
  return [judgeClock("storage clock", "Redis", server - (askedAt + answeredAt) / 2, answeredAt - askedAt)];
}

async function checkPostgres(ask: NamedStorage["ask"]): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (const name of ["fsync", "synchronous_commit", "full_page_writes"]) {
    const value = String(await ask(`SHOW ${name}`));
    findings.push(
      value === "off"
        ? fail(
            "durability",
            `${name} is off: a crash of the server loses writes it has acknowledged`,
            `Set ${name} = on.`,
          )
        : ok("durability", `${name} ${value}`),
    );
  }
  const askedAt = Date.now();
  const server = Number(await ask("SELECT extract(epoch FROM clock_timestamp())::float8 * 1000"));
  const answeredAt = Date.now();
  const offset = server - (askedAt + answeredAt) / 2;
  return [...findings, judgeClock("storage clock", "Postgres", offset, answeredAt - askedAt)];
}

/** A record that can be read. */
export interface ReadableRecord {
  readonly id: string;
  readonly record: SessionRecord;
}

/** Whether every record is of a format that this version knows. */
export function checkRecords(records: readonly StoredRecord[]): {
  readonly readable: readonly ReadableRecord[];
  readonly findings: readonly Finding[];
} {
  const readable: ReadableRecord[] = [];
  const findings: Finding[] = [];
  for (const { id, data } of records) {
    if (isReserved(id)) continue;
    try {
      readable.push({ id, record: decodeRecord(data) });
    } catch (error) {
      findings.push(
        fail("records", `the record of ${id} cannot be read: ${messageOf(error)}`, `Restore it, or: remove ${id}.`),
      );
    }
  }
  const summary = readable.length === 1 ? "1 account, readable" : `${readable.length} accounts, all readable`;
  if (findings.length === 0) findings.push(ok("records", summary));
  return { readable, findings };
}

/** Whether a record is sealed. */
export function isSealed({ record }: ReadableRecord): boolean {
  return isSealedText(record.session);
}
