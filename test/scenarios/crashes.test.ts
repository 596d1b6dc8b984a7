import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { NoSessionAvailableError } from "../../src/index.js";
import { watchChild } from "../canary/output-watch.js";
import { testSeed } from "../fakes/test-seed.js";
import { startChild } from "./child-processes.js";
import { killMany } from "./killings.js";
import { nameOf, rejection, stage } from "./support.js";

const TIMEOUT_MS = 60_000;
/** `bench/crashes.ts` does it two hundred times. */
const KILLS = 5;

describe("kill -9", () => {
  test(
    "right after cooled was emitted: still cooling when the file is opened again",
    async () => {
      const scene = await stage();
      const { server, open } = scene;
      server.fail({ method: "messages.SendMessage", message: "FLOOD_WAIT_2", times: 1 });
      const child = startChild(scene, "workers", "cooling");
      const cooled = await child.said("cooled");
      expect(await child.kill("SIGKILL")).toBe("SIGKILL");
      const before = server.connections().length;
      const pool = await open();
      expect(pool.get("account1")).toMatchObject({ state: "cooling", availableAt: cooled.until });
      expect(await rejection(pool.use(nameOf, { wait: false }))).toBeInstanceOf(NoSessionAvailableError);
      expect(await pool.use(nameOf)).toBe("account1");
      const [wait] = server.waits();
      expect(server.connections()[before]?.openedAt).toBeGreaterThanOrEqual(wait?.until ?? Number.NaN);
      expect(server.violations()).toEqual([]);
    },
    TIMEOUT_MS,
  );

  test.each([false, "only"] as const)(
    "right after use() has settled: Telegram's answer is remembered (to a connect: %s)",
    async (connect) => {
      const scene = await stage({ accounts: 3 });
      const { server } = scene;
      const match = connect === false ? { method: "users.GetUsers" } : { connect };
      server.fail({ ...match, account: "account1", code: 420, message: "FLOOD_WAIT_30" });
      server.fail({ ...match, account: "account2", code: 401, message: "AUTH_KEY_UNREGISTERED" });
      server.fail({ ...match, account: "account3", code: 420, message: "FROZEN_METHOD_INVALID" });
      const child = startChild(scene, "workers", "settling");
      await child.said("settled");
      await child.kill("SIGKILL");
      const pool = await scene.open();
      expect(pool.sessions().map(({ state }) => state)).toEqual(["cooling", "dead", "restricted"]);
    },
    TIMEOUT_MS,
  );

  test(
    "in the middle of work, while the next process starts: nothing acknowledged is lost",
    async () => {
      const folder = mkdtempSync(join(tmpdir(), "killings-"));
      onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
      const found = await killMany({
        file: join(folder, "sessions.db"),
        kills: KILLS,
        seed: testSeed(),
        onChild: (child) => {
          watchChild("a killed process", child.process);
          onTestFinished(() => {
            child.process.kill("SIGKILL");
          });
        },
        onServer: (server) => onTestFinished(() => server.close()),
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
});
