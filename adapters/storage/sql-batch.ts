import { isStorable } from "../../src/options/validators.js";
import type { RecordWrite, WriteResult } from "../../src/storage/storage.js";
import { type AnyRow, fields } from "./sql-rows.js";

/** How a database writes many records. */
export interface BatchStatements {
  /** Creates records by one statement. Resolves id and version of those that were not there. */
  create(rows: readonly RecordWrite[]): Promise<readonly AnyRow[]>;
  /** Replaces and deletes records by one statement. Resolves id and version of those that were at their version. */
  replace(rows: readonly RecordWrite[]): Promise<readonly AnyRow[]>;
  /** Does one write by itself. */
  write(write: RecordWrite): Promise<number | undefined>;
  /** Whether the error proves that a statement has changed nothing: then each of its writes is done by itself. */
  isRefusal?(error: unknown): boolean;
}

/**
 * Does many writes by at most two statements, one for those that create and one for the others. What JSON or the
 * database may not take is written by itself, so that it fails no other.
 */
export async function writeBatch(
  writes: readonly RecordWrite[],
  statements: BatchStatements,
): Promise<readonly WriteResult[]> {
  const results = new Map<string, WriteResult>();
  const [created, replaced, alone]: RecordWrite[][] = [[], [], []];
  for (const write of writes) {
    const { id, expected, data } = write;
    if (!isStorable(id) || (data !== null && !isStorable(data))) alone?.push(write);
    else if (expected > 0) replaced?.push(write);
    else if (data !== null) created?.push(write);
  }
  const writeAlone = async (write: RecordWrite): Promise<void> => {
    results.set(write.id, await statements.write(write).catch((error: Error) => error));
  };
  const writeTogether = async (rows: readonly RecordWrite[], run: BatchStatements["create"]): Promise<void> => {
    if (rows.length === 0) return;
    try {
      for (const row of await run(rows)) {
        const [id, version] = fields(row);
        results.set(String(id), Number(version));
      }
    } catch (error) {
      if (statements.isRefusal?.(error) === true) await Promise.all(rows.map(writeAlone));
      else for (const { id } of rows) results.set(id, error instanceof Error ? error : new Error(String(error)));
    }
  };
  await Promise.all([
    writeTogether(created ?? [], (rows) => statements.create(rows)),
    writeTogether(replaced ?? [], (rows) => statements.replace(rows)),
    ...(alone ?? []).map(writeAlone),
  ]);
  return writes.map(({ id }) => results.get(id));
}
