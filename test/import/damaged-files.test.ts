import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AccountFileError, type ReadAccount, readAccounts } from "../../src/import/index.js";
import { parseSession } from "../../src/telegram/session-string.js";
import { fixturePath } from "./fixtures.js";

/** `IMPORT_FUZZ_RUNS=10000 npx vitest run test/import/damaged-files.test.ts` takes about ten minutes. */
const RUNS = Number(process.env.IMPORT_FUZZ_RUNS ?? 40);
/** A passcode is tried in 100,000 rounds of hashing. */
const PASSCODE_COST = 20;
const MOST_GROWTH_BYTES = 100 * 1_048_576;

const FILES = readdirSync(fixturePath("."), { recursive: true, encoding: "utf8" })
  .filter((name) => statSync(fixturePath(name)).isFile() && !name.endsWith("maps") && name !== "expected.json")
  .sort();

/** What happens to a file on its way: bytes change, the end is missing. */
const damage = fc.record({
  flips: fc.array(
    fc.tuple(fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), fc.integer({ min: 1, max: 255 })),
    {
      maxLength: 16,
    },
  ),
  kept: fc.oneof(fc.constant(1), fc.double({ min: 0, max: 1, noNaN: true })),
});

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "damaged-"));
  cpSync(fixturePath("."), folder, { recursive: true });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function allOf(path: string): Promise<readonly ReadAccount[]> {
  const found: ReadAccount[] = [];
  for await (const account of readAccounts(path, { passcode: "open sesame 11" })) found.push(account);
  return found;
}

describe("readAccounts() - damaged files", () => {
  test.each(FILES)(
    "%s with bytes changed and its end cut off - accounts and typed errors only",
    async (name) => {
      const path = join(folder, name);
      const original = readFileSync(path);
      const read = name.startsWith("tdata") ? join(folder, name.split("/")[0] ?? "") : path;
      const before = process.memoryUsage.rss();
      try {
        await fc.assert(
          fc.asyncProperty(damage, async ({ flips, kept }) => {
            const bytes = Buffer.from(original.subarray(0, Math.ceil(original.length * kept)));
            for (const [place, mask] of flips) {
              const at = Math.floor(place * bytes.length);
              bytes[at] = (bytes[at] ?? 0) ^ mask;
            }
            writeFileSync(path, bytes);
            for (const found of await allOf(read)) {
              if (found.error === undefined) parseSession(found.session);
              else expect(found.error).toBeInstanceOf(AccountFileError);
            }
          }),
          { numRuns: name.startsWith("tdata-passcode") ? Math.ceil(RUNS / PASSCODE_COST) : RUNS },
        );
      } finally {
        writeFileSync(path, original);
      }
      expect(process.memoryUsage.rss() - before).toBeLessThan(MOST_GROWTH_BYTES);
    },
    600_000,
  );
});
