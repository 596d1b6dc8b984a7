import { expect, test } from "vitest";
import { ensureBuilt, runNode } from "./build.js";

test("08-calls-per-day - the programs send what is left of the day, and no more", async () => {
  await ensureBuilt();
  const { code, output } = await runNode(["--import", "tsx", "examples/08-calls-per-day.ts"]);
  expect(code, output).toBe(0);
  expect(output.trim().split("\n")).toEqual([
    "first: 4 sent",
    "second: 6 sent, the next in 24 hours",
    "third: 0 sent, the next in 24 hours",
  ]);
}, 180_000);
