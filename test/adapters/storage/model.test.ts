import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import Keyv from "keyv";
import { afterAll, expect, test } from "vitest";
import { keyv } from "../../../adapters/storage/keyv.js";
import { memory } from "../../../adapters/storage/memory.js";
import { sqlite } from "../../../adapters/storage/sqlite.js";
import type { SessionStorage, StoredRecord } from "../../../src/storage/storage.js";

const folder = mkdtempSync(join(tmpdir(), "storage-model-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What is there, and the highest version that each id ever had. */
interface Model {
  readonly records: Map<string, StoredRecord>;
  readonly highest: Map<string, number>;
}

interface Real {
  storage: SessionStorage;
  readonly reopen: (former: SessionStorage) => SessionStorage;
}

type Command = fc.AsyncCommand<Model, Real>;

/** A write at the version that is there, or so far beside it. */
function writing(id: string, beside: number, data: string | null): Command {
  return {
    check: ({ records }) => data !== null || (records.get(id)?.version ?? 0) + beside !== 0,
    async run({ records, highest }, { storage }) {
      const version = await storage.write(id, (records.get(id)?.version ?? 0) + beside, data);
      expect(version !== undefined).toBe(beside === 0);
      if (version !== undefined) {
        expect(version).toBeGreaterThan(highest.get(id) ?? 0);
        highest.set(id, version);
        if (data === null) records.delete(id);
        else records.set(id, { id, version, data });
      }
      expect(await storage.read(id)).toEqual(records.get(id));
    },
    toString: () => `write(${JSON.stringify(id)}, ${beside}, ${JSON.stringify(data)})`,
  };
}

const reopening: Command = {
  check: () => true,
  async run({ records }, real) {
    await real.storage.close?.();
    real.storage = real.reopen(real.storage);
    await real.storage.open?.();
    const byId = new Map((await real.storage.list()).map((record) => [record.id, record]));
    expect(byId).toEqual(records);
  },
  toString: () => "reopen()",
};

const ids = fc.constantFrom("a", "A", "a:b", "%", "__proto__");
const besides = fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constantFrom(-1, 1) });
const texts = fc.oneof(
  { weight: 2, arbitrary: fc.string({ unit: "grapheme" }).map((text) => text.replaceAll("\0", "")) },
  { weight: 1, arbitrary: fc.constant(null) },
);
const commands = fc.commands(
  [fc.tuple(ids, besides, texts).map((given) => writing(...given)), fc.constant(reopening)],
  { maxCommands: 30 },
);

let files = 0;
const kinds: Readonly<Record<string, () => Omit<Real, "storage"> & { first: () => SessionStorage }>> = {
  memory: () => ({ first: memory, reopen: (former) => former }),
  sqlite: () => {
    const path = join(folder, `${++files}.db`);
    return { first: () => sqlite(path), reopen: () => sqlite(path) };
  },
  keyv: () => {
    const store = new Map();
    const make = (): SessionStorage => keyv(new Keyv({ store }));
    return { first: make, reopen: make };
  },
};

test.each(Object.entries(kinds))(
  "%s - does as a Map does, whatever is written, deleted and reopened",
  async (_, make) => {
    await fc.assert(
      fc.asyncProperty(commands, async (run) => {
        const { first, reopen } = make();
        const real: Real = { storage: first(), reopen };
        await real.storage.open?.();
        try {
          const model: Model = { records: new Map(), highest: new Map() };
          await fc.asyncModelRun(() => ({ model, real }), run);
        } finally {
          await real.storage.close?.();
        }
      }),
      { numRuns: 25 },
    );
  },
);
