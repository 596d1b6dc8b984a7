import { describe, expect, test } from "vitest";
import { NoSessionAvailableError } from "../../src/index.js";
import { type Line, startChild } from "./child-processes.js";
import { callsOf, message, nameOf, rejection, stage, textsOf, until } from "./support.js";

const TIMEOUT_MS = 45_000;

const countOf = (lines: readonly Line[], word: string): number => lines.filter((line) => line.word === word).length;

describe("kill -9", () => {
  test(
    "right after cooled was told: still cooling when the file is opened again",
    async () => {
      const scene = await stage();
      const { dataCentre, open } = scene;
      dataCentre.fail({ method: "messages.SendMessage", message: "FLOOD_WAIT_2", times: 1 });
      const child = startChild(scene, "workers", "cooling");
      const cooled = await child.said("cooled");
      expect(await child.kill("SIGKILL")).toBe("SIGKILL");
      const before = dataCentre.connections().length;
      const pool = await open();
      expect(pool.get("account1")).toMatchObject({ state: "cooling", availableAt: cooled.until });
      expect(await rejection(pool.use(nameOf, { wait: false }))).toBeInstanceOf(NoSessionAvailableError);
      expect(await pool.use(nameOf)).toBe("account1");
      const [wait] = dataCentre.waits();
      expect(dataCentre.connections()[before]?.openedAt).toBeGreaterThanOrEqual(wait?.until ?? Number.NaN);
      expect(dataCentre.violations()).toEqual([]);
    },
    TIMEOUT_MS,
  );

  test.each([false, "only"] as const)(
    "right after use() has settled: what Telegram said is remembered (to a connect: %s)",
    async (connect) => {
      const scene = await stage({ accounts: 3 });
      const { dataCentre } = scene;
      const match = connect === false ? { method: "users.GetUsers" } : { connect };
      dataCentre.fail({ ...match, account: "account1", code: 420, message: "FLOOD_WAIT_30" });
      dataCentre.fail({ ...match, account: "account2", code: 401, message: "AUTH_KEY_UNREGISTERED" });
      dataCentre.fail({ ...match, account: "account3", code: 420, message: "FROZEN_METHOD_INVALID" });
      const child = startChild(scene, "workers", "settling");
      await child.said("settled");
      await child.kill("SIGKILL");
      const pool = await scene.open();
      expect(pool.sessions().map(({ state }) => state)).toEqual(["cooling", "dead", "restricted"]);
    },
    TIMEOUT_MS,
  );

  test(
    "ten times in the middle of work: nothing that was told is lost, no wait is broken",
    async () => {
      const scene = await stage({ accounts: 6 });
      const { dataCentre, open } = scene;
      dataCentre.limit("messages.SendMessage", { calls: 8, perMs: 1_000, waitSeconds: 2 });
      dataCentre.fail({
        account: "account6",
        message: "SESSION_REVOKED",
        code: 401,
        method: "messages.SendMessage",
        skip: 30,
      });
      const cooled = new Map<string, number>();
      const waitsTold: { readonly id: string; readonly until: number; readonly diedAt: number }[] = [];
      const tagged = new Map<string, readonly [process: number, change: number]>();
      const processes: number[] = [];
      const changeOf = (tag: string): readonly [number, number] => {
        const [pid, change] = tag.split("-").map(Number);
        return [processes.indexOf(pid ?? 0), change ?? -1];
      };
      const note = (line: Line): void => {
        const id = String(line.id);
        if (line.word === "cooled") waitsTold.push({ id, until: Number(line.until), diedAt: Date.now() });
        if (line.word === "cooled") cooled.set(id, Math.max(cooled.get(id) ?? 0, Number(line.until)));
        if (line.word === "tagged") tagged.set(id, changeOf(String(line.tags)));
      };
      for (let round = 0; round < 10; round++) {
        const child = startChild(scene, "workers", "working");
        processes.push(child.process.pid ?? 0);
        await child.said("ready");
        // Every third one dies right after a flood, the others wherever they are after some changes.
        if (round % 3 === 0) await child.said("cooled");
        const changes = 1 + Math.floor(Math.random() * 15);
        await until("it is in the middle of work", () => countOf(child.lines, "tagged") >= changes);
        await child.kill("SIGKILL");
        for (const line of child.lines) note(line);
        expect(child.lines.filter(({ word }) => word === "unhandledRejection")).toEqual([]);
      }
      const pool = await open({ add: [] });
      expect(pool.rejected()).toEqual([]);
      expect(pool.sessions()).toHaveLength(6);
      const now = Date.now();
      for (const [id, until] of cooled) {
        const { availableAt, state } = pool.get(id) ?? {};
        if (until > now + 50 && state !== "dead") expect(availableAt, id).toBeGreaterThanOrEqual(until);
      }
      expect(tagged.size).toBe(6);
      for (const [id, told] of tagged) {
        const kept = changeOf(String(pool.get(id)?.tags));
        expect(kept[0] > told[0] || (kept[0] === told[0] && kept[1] >= told[1]), id).toBe(true);
      }
      expect(cooled.size).toBeGreaterThan(0);
      // A process that is killed before it could write a wait down never told of it, and the next one may run into it;
      // what was told before a call came is another matter.
      const broken = dataCentre
        .violations()
        .filter(({ wait, at }) =>
          waitsTold.some(
            ({ id, until, diedAt }) => id === wait.account && Math.abs(until - wait.until) < 300 && diedAt <= at,
          ),
        );
      expect(broken).toEqual([]);
      expect(dataCentre.duplicates()).toEqual([]);
      expect(dataCentre.maxConnectionsPerKey()).toBeLessThanOrEqual(1);
      dataCentre.clearRules();
      await pool.invoke(message("afterwards"));
      expect(textsOf(dataCentre)).toContain("afterwards");
      expect(callsOf(dataCentre, "messages.SendMessage").length).toBeGreaterThan(50);
    },
    TIMEOUT_MS,
  );
});
