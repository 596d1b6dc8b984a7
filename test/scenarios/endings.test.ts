import { describe, expect, test } from "vitest";
import { startChild } from "./child-processes.js";
import { Api, callsOf, stage, until, within } from "./support.js";

const TIMEOUT_MS = 30_000;

/** What stood before may have ended meanwhile; nothing is there that was not. */
function expectNothingNew(done: Readonly<Record<string, unknown>>): void {
  const before = done.before as Readonly<Record<string, number>>;
  const isNew = ([kind, count]: [string, number]): boolean => count > (before[kind] ?? 0);
  expect(Object.entries(done.after as Record<string, number>).filter(isNew)).toEqual([]);
}

describe("a process with a pool", () => {
  test.each(["idle", "unused"])(
    "ends by itself when it has no work left (%s)",
    async (mode) => {
      const scene = await stage();
      const child = startChild(scene, "endings", mode);
      const done = await child.said("done");
      expect(await within(2_000, child.ended)).toBe(0);
      expect(Date.now() - done.at).toBeLessThan(2_000);
    },
    TIMEOUT_MS,
  );

  test(
    "stays until a running call is answered",
    async () => {
      const scene = await stage();
      scene.server.delay({ method: "users.GetUsers", delayMs: 1_000 });
      const child = startChild(scene, "endings", "in flight");
      const done = await child.said("done");
      expect(await within(5_000, child.ended)).toBe(0);
      const answered = child.lines.find(({ word }) => word === "answered");
      expect(Number(answered?.at) - done.at).toBeGreaterThan(700);
    },
    TIMEOUT_MS,
  );

  test(
    "stays until a waiting caller is served",
    async () => {
      const scene = await stage();
      const child = startChild(scene, "endings", "waiting");
      await child.said("done");
      expect(await within(5_000, child.ended)).toBe(0);
      expect(child.lines.map(({ word }) => word)).toEqual(["done", "answered"]);
    },
    TIMEOUT_MS,
  );

  test(
    "stays while an account is kept connected, and ends when the pool is closed",
    async () => {
      const scene = await stage();
      const child = startChild(scene, "endings", "listening");
      await child.said("done");
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(child.process.exitCode).toBeNull();
      const [account] = scene.server.accounts;
      scene.server.push(
        account?.name ?? "",
        new Api.UpdateShort({
          update: new Api.UpdateUserTyping({ userId: 1n as never, action: new Api.SendMessageTypingAction() }),
          date: 1,
        }),
      );
      await child.said("closed");
      expect(await within(2_000, child.ended)).toBe(0);
    },
    TIMEOUT_MS,
  );

  test.each(["closed", "destroyed"])(
    "leaves no handle behind and ends at once (%s)",
    async (mode) => {
      const scene = await stage();
      const child = startChild(scene, "endings", mode);
      const done = await child.said("done");
      expect(await within(2_000, child.ended)).toBe(0);
      expectNothingNew(done);
      expect(Date.now() - done.at).toBeLessThan(1_500);
      const { server } = scene;
      await until("no connection", () => server.connections().every(({ closedAt }) => closedAt !== null));
    },
    TIMEOUT_MS,
  );

  test(
    "after a hundred times open and close, nothing has grown",
    async () => {
      const scene = await stage();
      const child = startChild(scene, "endings", "cycles");
      const done = await child.said("done");
      expectNothingNew(done);
      expect(await within(2_000, child.ended)).toBe(0);
      // One for each cycle, and one by which the first connect learns whose session it is.
      expect(callsOf(scene.server, "users.GetUsers")).toHaveLength(101);
      expect(scene.server.maxConnectionsPerKey()).toBe(1);
    },
    TIMEOUT_MS,
  );

  test.each(["SIGINT"] as const)(
    "ends by %s as if there were no pool",
    async (signal) => {
      const scene = await stage();
      const child = startChild(scene, "endings", "holding");
      await child.said("done");
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(child.process.exitCode).toBeNull();
      expect(await within(1_000, child.kill(signal))).toBe(signal);
    },
    TIMEOUT_MS,
  );
});
