import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { AccountFileError } from "./found-account.js";

/**
 * Reads tables of an SQLite database that belongs to another program, by the documented file format
 * (sqlite.org/fileformat2.html), and no more of it than session files need.
 *
 * Not by a driver: a driver that opens a database whose log is in use writes beside it (`-shm`, and a checkpoint when it
 * closes), and which driver there is depends on the version of Node.js and on packages that the
 * user need not have. This reads pages on demand, changes nothing, and takes a bounded amount of memory of a file of any size.
 */
export class SqliteFile implements Disposable {
  readonly #file: number;
  readonly #log: WriteAheadLog | undefined;
  readonly #pageBytes: number;
  readonly #usableBytes: number;
  readonly #encoding: BufferEncoding | "utf16be";
  /** Bound: `PAGES_KEPT`. */
  readonly #pages = new Map<number, Buffer>();
  readonly #tables: ReadonlyMap<string, Table>;

  /** Throws `AccountFileError` for what is no database, or not a whole one. */
  constructor(path: string) {
    this.#file = openSync(path, "r");
    try {
      if (isHotJournal(`${path}-journal`)) throw new AccountFileError(BEING_WRITTEN);
      const header = Buffer.alloc(HEADER_BYTES);
      const length = readSync(this.#file, header, 0, HEADER_BYTES, 0);
      if (length < HEADER_BYTES || !isSqlite(header)) throw damaged();
      this.#pageBytes = pageBytesIn(header.readUInt16BE(16));
      this.#usableBytes = this.#pageBytes - header.readUInt8(20);
      if (this.#usableBytes < 480) throw damaged();
      this.#log = WriteAheadLog.of(`${path}-wal`, this.#pageBytes);
      // The first page may be in the log alone, with another encoding than an empty file's.
      const encoding = this.#page(1).readUInt32BE(56);
      this.#encoding = encoding === 2 ? "utf16le" : encoding === 3 ? "utf16be" : "utf8";
      this.#tables = this.#readSchema();
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** The names of a table's columns, in lower case; `undefined` where there is no such table. */
  columns(table: string): readonly string[] | undefined {
    return this.#tables.get(table)?.columns;
  }

  /** The names of all tables, in lower case. */
  get tables(): readonly string[] {
    return [...this.#tables.keys()];
  }

  /** The rows of a table by the names of their columns, in lower case; none where there is no such table. */
  *rows(table: string): Generator<Row> {
    const found = this.#tables.get(table);
    if (found === undefined) return;
    for (const { rowId, values } of this.#cells(found.rootPage)) {
      const row: Record<string, SqliteValue> = {};
      found.columns.forEach((column, index) => {
        row[column] = column === found.rowIdColumn ? rowId : (values[index] ?? null);
      });
      yield row;
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#file);
    this.#log?.[Symbol.dispose]();
  }

  #readSchema(): ReadonlyMap<string, Table> {
    const tables = new Map<string, Table>();
    for (const { values } of this.#cells(1)) {
      const [type, name, , rootPage, sql] = values;
      if (type !== "table" || typeof name !== "string" || typeof sql !== "string") continue;
      if (typeof rootPage !== "number" || rootPage < 1 || /\)\s*without\s+rowid/i.test(sql)) continue;
      tables.set(name.toLowerCase(), { rootPage, ...columnsIn(sql) });
      if (tables.size > MOST_TABLES) throw damaged();
    }
    return tables;
  }

  /** The cells of a table's b-tree, in the order of their row ids. */
  *#cells(rootPage: number): Generator<Cell> {
    const seen = new Set<number>();
    const pages: number[] = [rootPage];
    for (let number = pages.pop(); number !== undefined; number = pages.pop()) {
      // Each page has one place in one tree; a cycle is damage.
      if (seen.has(number) || seen.size >= MOST_PAGES) throw damaged();
      seen.add(number);
      const page = this.#page(number);
      const start = number === 1 ? HEADER_BYTES : 0;
      const kind = page.readUInt8(start);
      const count = page.readUInt16BE(start + 3);
      if (kind === INTERIOR_PAGE) pages.push(...childrenIn(page, start, count).reverse());
      else if (kind === LEAF_PAGE) yield* this.#leafCells(page, start + 8, count);
      else throw damaged();
    }
  }

  *#leafCells(page: Buffer, pointersAt: number, count: number): Generator<Cell> {
    for (let index = 0; index < count; index++) {
      const at = page.readUInt16BE(pointersAt + 2 * index);
      const [length, lengthBytes] = readVarint(page, at);
      const [rowId, rowIdBytes] = readVarint(page, at + lengthBytes);
      const payload = this.#payload(page, at + lengthBytes + rowIdBytes, Number(length));
      yield { rowId: plain(BigInt.asIntN(64, rowId)), values: this.#values(payload) };
    }
  }

  /** A record's bytes, the part that did not fit into its page included. */
  #payload(page: Buffer, at: number, length: number): Buffer {
    if (length > MOST_PAYLOAD_BYTES) throw damaged();
    const largest = this.#usableBytes - 35;
    if (length <= largest) return slice(page, at, length);
    const smallest = Math.floor(((this.#usableBytes - 12) * 32) / 255) - 23;
    const fitting = smallest + ((length - smallest) % (this.#usableBytes - 4));
    const localBytes = fitting <= largest ? fitting : smallest;
    const parts = [slice(page, at, localBytes)];
    let [left, next] = [length - localBytes, slice(page, at + localBytes, 4).readUInt32BE(0)];
    while (left > 0) {
      const overflow = this.#page(next);
      const part = slice(overflow, 4, Math.min(left, this.#usableBytes - 4));
      parts.push(part);
      left -= part.length;
      next = overflow.readUInt32BE(0);
    }
    return Buffer.concat(parts);
  }

  #values(record: Buffer): readonly SqliteValue[] {
    const [headerBytes, first] = readVarint(record, 0);
    let [typeAt, valueAt] = [first, Number(headerBytes)];
    const values: SqliteValue[] = [];
    while (typeAt < headerBytes) {
      const [type, typeBytes] = readVarint(record, typeAt);
      const [value, valueBytes] = this.#value(record, valueAt, Number(type));
      values.push(value);
      typeAt += typeBytes;
      valueAt += valueBytes;
      if (values.length > MOST_COLUMNS) throw damaged();
    }
    return values;
  }

  #value(record: Buffer, at: number, type: number): readonly [SqliteValue, number] {
    if (type >= 12) {
      const length = (type - (type % 2 === 0 ? 12 : 13)) / 2;
      const bytes = slice(record, at, length);
      return [type % 2 === 0 ? bytes : textOf(bytes, this.#encoding), length];
    }
    if (type === 0) return [null, 0];
    if (type === 8 || type === 9) return [type - 8, 0];
    const length = NUMBER_BYTES[type];
    if (length === undefined) throw damaged();
    const bytes = slice(record, at, length);
    if (type === 7) return [bytes.readDoubleBE(0), length];
    return [length === 8 ? plain(bytes.readBigInt64BE(0)) : bytes.readIntBE(0, length), length];
  }

  #page(number: number): Buffer {
    const kept = this.#pages.get(number);
    if (kept !== undefined) return kept;
    const page = this.#log?.page(number) ?? this.#readPage(number);
    this.#pages.set(number, page);
    const [oldest] = this.#pages.keys();
    if (this.#pages.size > PAGES_KEPT && oldest !== undefined) this.#pages.delete(oldest);
    return page;
  }

  #readPage(number: number): Buffer {
    const page = Buffer.alloc(this.#pageBytes);
    const length = number < 1 ? 0 : readSync(this.#file, page, 0, page.length, (number - 1) * this.#pageBytes);
    if (length < page.length) throw new AccountFileError(CUT_OFF);
    return page;
  }
}

/** What a database holds in a column. Integers that a `number` cannot hold exactly are `bigint`. */
export type SqliteValue = null | number | bigint | string | Buffer;

/** A row, by the names of its columns in lower case. */
export type Row = Readonly<Record<string, SqliteValue>>;

/** Whether these are the first bytes of an SQLite database. */
export function isSqlite(start: Buffer): boolean {
  return start.toString("latin1", 0, 16) === "SQLite format 3\0";
}

const BEING_WRITTEN =
  "The database is being written at this moment, or a program ended while it wrote. Close the program that uses it (start and end it once), and read the file again.";
const CUT_OFF = "The database is cut off: it names pages that the file does not have. Copy the file again, whole.";

const HEADER_BYTES = 100;
const LEAF_PAGE = 13;
const INTERIOR_PAGE = 5;
/** Bytes of a number by its serial type: integers of 1 to 8 bytes and, with 7, a floating point number. */
const NUMBER_BYTES: readonly (number | undefined)[] = [undefined, 1, 2, 3, 4, 6, 8, 8];
const PAGES_KEPT = 64;
const MOST_PAGES = 500_000;
const MOST_TABLES = 1_000;
const MOST_COLUMNS = 2_000;
/** Keys have 256 bytes, names a few hundred. */
const MOST_PAYLOAD_BYTES = 1_048_576;

interface Table {
  readonly rootPage: number;
  readonly columns: readonly string[];
  /** The column that is the row id, and is not in the record. */
  readonly rowIdColumn: string | undefined;
}

interface Cell {
  readonly rowId: SqliteValue;
  readonly values: readonly SqliteValue[];
}

function damaged(): AccountFileError {
  return new AccountFileError("The database is damaged. Take the file from a backup, or sign in again.");
}

function pageBytesIn(stored: number): number {
  const bytes = stored === 1 ? 65_536 : stored;
  if (bytes < 512 || (bytes & (bytes - 1)) !== 0) throw damaged();
  return bytes;
}

function childrenIn(page: Buffer, start: number, count: number): number[] {
  const pointersAt = start + 12;
  const children = Array.from({ length: count }, (_, index) =>
    page.readUInt32BE(page.readUInt16BE(pointersAt + 2 * index)),
  );
  return [...children, page.readUInt32BE(start + 8)];
}

/** A slice that is whole. */
function slice(bytes: Buffer, at: number, length: number): Buffer {
  if (at < 0 || length < 0 || at + length > bytes.length) throw damaged();
  return bytes.subarray(at, at + length);
}

/** A number of one to nine bytes, seven bits of it in each of the first eight, and how many bytes those were. */
function readVarint(bytes: Buffer, at: number): readonly [bigint, number] {
  let value = 0n;
  for (let index = 0; index < 8; index++) {
    const byte = bytes.readUInt8(at + index);
    value = (value << 7n) | BigInt(byte & 0x7f);
    if (byte < 0x80) return [value, index + 1];
  }
  return [(value << 8n) | BigInt(bytes.readUInt8(at + 8)), 9];
}

function plain(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function textOf(bytes: Buffer, encoding: BufferEncoding | "utf16be"): string {
  if (encoding !== "utf16be") return bytes.toString(encoding);
  return Buffer.from(bytes.subarray(0, bytes.length - (bytes.length % 2)))
    .swap16()
    .toString("utf16le");
}

/** The names of the columns that a CREATE TABLE statement declares. */
function columnsIn(sql: string): Pick<Table, "columns" | "rowIdColumn"> {
  const text = sql.replace(/--[^\n]*|\/\*[\s\S]*?\*\//g, " ");
  const body = text.slice(text.indexOf("(") + 1, text.lastIndexOf(")"));
  const definitions = partsOf(body).filter((part) => !/^(constraint|primary|unique|check|foreign)\b/i.test(part));
  const names = definitions.map(nameIn);
  const isRowId = (definition: string): boolean =>
    /^\S+\s+integer\b[^,]*\bprimary\s+key\b(?!\s+desc)/i.test(definition);
  const constraint = /(?:^|,)\s*(?:constraint\s+\S+\s+)?primary\s+key\s*\(\s*([^,()\s]+)\s*\)/i.exec(body)?.[1];
  const declared = definitions.findIndex(
    (definition, index) =>
      isRowId(definition) ||
      (constraint !== undefined && nameIn(constraint) === names[index] && /^\S+\s+integer\s*$/i.test(definition)),
  );
  return { columns: names, rowIdColumn: names[declared] };
}

function nameIn(definition: string): string {
  const name = /^(?:"([^"]+)"|`([^`]+)`|\[([^\]]+)\]|'([^']+)'|([^\s(]+))/.exec(definition);
  return (name?.slice(1).find((part) => part !== undefined) ?? "").toLowerCase();
}

/** What commas outside of parentheses separate. */
function partsOf(body: string): readonly string[] {
  const parts: string[] = [];
  let [depth, start] = [0, 0];
  for (let index = 0; index < body.length; index++) {
    const character = body[index];
    if (character === "(") depth++;
    else if (character === ")") depth--;
    else if (character === "," && depth === 0) {
      parts.push(body.slice(start, index).trim());
      start = index + 1;
    }
  }
  parts.push(body.slice(start).trim());
  return parts.filter((part) => part !== "");
}

const JOURNAL_START = "d9d505f920a163d7";

/** Whether a transaction is under way, or was when a program ended: the database alone is not to be trusted. */
function isHotJournal(path: string): boolean {
  const file = openIfPresent(path);
  if (file === undefined) return false;
  try {
    const start = Buffer.alloc(8);
    return readSync(file, start, 0, 8, 0) === 8 && start.toString("hex") === JOURNAL_START;
  } finally {
    closeSync(file);
  }
}

function openIfPresent(path: string): number | undefined {
  try {
    return openSync(path, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

const LOG_HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
const LOG_START = 0x377f0682;
/** Programs restart the log after 4 MB. */
const MOST_LOG_BYTES = 268_435_456;

/** The pages that a program has committed to the log beside its database and not copied into it yet. */
class WriteAheadLog implements Disposable {
  readonly #file: number;
  readonly #pageBytes: number;
  /** Where the latest committed form of each page is. Bound: the frames of the log. */
  readonly #places: ReadonlyMap<number, number>;

  private constructor(file: number, pageBytes: number) {
    this.#file = file;
    this.#pageBytes = pageBytes;
    this.#places = this.#readPlaces();
  }

  static of(path: string, pageBytes: number): WriteAheadLog | undefined {
    const file = openIfPresent(path);
    if (file === undefined) return undefined;
    try {
      return new WriteAheadLog(file, pageBytes);
    } catch (error) {
      closeSync(file);
      throw error;
    }
  }

  page(number: number): Buffer | undefined {
    const place = this.#places.get(number);
    if (place === undefined) return undefined;
    const page = Buffer.alloc(this.#pageBytes);
    if (readSync(this.#file, page, 0, page.length, place) < page.length) throw new AccountFileError(BEING_WRITTEN);
    return page;
  }

  [Symbol.dispose](): void {
    closeSync(this.#file);
  }

  #readPlaces(): ReadonlyMap<number, number> {
    const places = new Map<number, number>();
    const { size } = fstatSync(this.#file);
    if (size < LOG_HEADER_BYTES) return places;
    if (size > MOST_LOG_BYTES)
      throw new AccountFileError(
        "The log beside the database (-wal) is far too large. Close the program that uses it, and read the file again.",
      );
    const header = Buffer.alloc(LOG_HEADER_BYTES);
    readSync(this.#file, header, 0, LOG_HEADER_BYTES, 0);
    const magic = header.readUInt32BE(0);
    if ((magic & 0xfffffffe) !== LOG_START || header.readUInt32BE(8) !== this.#pageBytes) return places;
    const checksum = new LogChecksum(magic === LOG_START);
    checksum.add(header.subarray(0, 24));
    if (!checksum.equals(header.readUInt32BE(24), header.readUInt32BE(28))) return places;
    const frame = Buffer.alloc(FRAME_HEADER_BYTES + this.#pageBytes);
    const uncommitted = new Map<number, number>();
    for (let at = LOG_HEADER_BYTES; at + frame.length <= size; at += frame.length) {
      if (readSync(this.#file, frame, 0, frame.length, at) < frame.length) break;
      // Frames of an earlier round of the log follow those of the latest one.
      if (!frame.subarray(8, 16).equals(header.subarray(16, 24))) break;
      checksum.add(frame.subarray(0, 8));
      checksum.add(frame.subarray(FRAME_HEADER_BYTES));
      if (!checksum.equals(frame.readUInt32BE(16), frame.readUInt32BE(20))) break;
      uncommitted.set(frame.readUInt32BE(0), at + FRAME_HEADER_BYTES);
      if (frame.readUInt32BE(4) === 0) continue;
      for (const [number, place] of uncommitted) places.set(number, place);
      uncommitted.clear();
    }
    return places;
  }
}

/** The running checksum of a log: sqlite.org/fileformat2.html#checksum_algorithm. */
class LogChecksum {
  readonly #isLittleEndian: boolean;
  #first = 0;
  #second = 0;

  constructor(isLittleEndian: boolean) {
    this.#isLittleEndian = isLittleEndian;
  }

  add(bytes: Buffer): void {
    for (let at = 0; at + 8 <= bytes.length; at += 8) {
      this.#first = (this.#first + this.#word(bytes, at) + this.#second) >>> 0;
      this.#second = (this.#second + this.#word(bytes, at + 4) + this.#first) >>> 0;
    }
  }

  equals(first: number, second: number): boolean {
    return this.#first === first && this.#second === second;
  }

  #word(bytes: Buffer, at: number): number {
    return this.#isLittleEndian ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at);
  }
}
