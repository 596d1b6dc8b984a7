import { Mutex } from "async-mutex";
import type { Row, SqliteDriver } from "./sqlite-driver.js";

type Parameter = string | number | null;

interface Write {
  readonly statement: string;
  readonly parameters: readonly Parameter[];
  resolve(rows: readonly Row[]): void;
  reject(error: unknown): void;
}

/** An engine on a connection that nothing else uses: one statement at a time, writes of the same moment in one commit. */
export function groupedEngine(run: SqliteDriver["query"], close: () => Promise<void>): SqliteDriver {
  const turns = new Mutex();
  const commits = new GroupCommit(turns, run);
  return {
    query: (statement, ...parameters) =>
      /^(INSERT|UPDATE|DELETE)\b/.test(statement)
        ? commits.write(statement, ...parameters)
        : turns.runExclusive(() => run(statement, ...parameters)),
    close: () => turns.runExclusive(close),
  };
}

/**
 * Writes that wait for the same lock are committed together: they take it once, and the disk is waited for once. Each
 * is answered when all are committed. When one of them fails nothing of it is kept, and each is run by itself.
 */
class GroupCommit {
  readonly #turns: Mutex;
  readonly #run: SqliteDriver["query"];
  #waiting: Write[] = [];

  /** `run` is called within a turn only, never twice at once. */
  constructor(turns: Mutex, run: SqliteDriver["query"]) {
    this.#turns = turns;
    this.#run = run;
  }

  write(statement: string, ...parameters: readonly Parameter[]): Promise<readonly Row[]> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ statement, parameters, resolve, reject });
      if (this.#waiting.length === 1) void this.#turns.runExclusive(() => this.#commit()).catch(reject);
    });
  }

  async #commit(): Promise<void> {
    const writes = this.#waiting;
    this.#waiting = [];
    if (writes.length === 1 || !(await this.#isSettled(writes))) {
      for (const write of writes)
        await this.#run(write.statement, ...write.parameters).then(write.resolve, write.reject);
    }
  }

  async #isSettled(writes: readonly Write[]): Promise<boolean> {
    try {
      await this.#run("BEGIN IMMEDIATE");
    } catch (error) {
      for (const { reject } of writes) reject(error);
      return true; // all of them are told
    }
    try {
      const answers: (readonly Row[])[] = [];
      for (const { statement, parameters } of writes) answers.push(await this.#run(statement, ...parameters));
      await this.#run("COMMIT");
      for (const [index, { resolve }] of writes.entries()) resolve(answers[index] ?? []);
      return true;
    } catch {
      await this.#run("ROLLBACK").catch(() => undefined); // SQLite may have done so itself
      return false;
    }
  }
}
