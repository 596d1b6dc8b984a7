import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { watchChild } from "../canary/output-watch.js";
import { killMany } from "./killings.js";

/** `bench/crashes.ts` does it two hundred times. */
const KILLS = 8;
const TIMEOUT_MS = 60_000;

test(
  "SIGKILL in the middle of work, the next process going on in the same moment: nothing acknowledged is lost",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "killings-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const found = await killMany({
      file: join(folder, "sessions.db"),
      kills: KILLS,
      onChild: (child) => {
        watchChild("a killed process", child.process);
        onTestFinished(() => {
          child.process.kill("SIGKILL");
        });
      },
      onDataCentre: (dataCentre) => onTestFinished(() => dataCentre.close()),
    });
    expect(found).toMatchObject({ lost: [], broken: [], damages: [], failures: [], duplicates: 0 });
    expect(found.maxConnectionsPerKey).toBe(1);
    // The killed one had every account connected; its claims are void with it, and nobody waits for their end.
    expect(found.takeoversMs).toHaveLength(KILLS);
    expect(Math.max(...found.takeoversMs)).toBeLessThan(5_000);
    expect(found.changes).toBeGreaterThan(KILLS);
    expect(found.waits).toBeGreaterThan(0);
  },
  TIMEOUT_MS,
);
