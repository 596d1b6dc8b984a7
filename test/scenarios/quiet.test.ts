import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { describe, expect, onTestFinished, test } from "vitest";
import { watchChild } from "../canary/output-watch.js";

/** What a process prints that uses a pool and prints nothing itself. */
async function printedBy(mode: "asked" | "not asked"): Promise<object> {
  const script = fileURLToPath(new URL("./processes/printing.ts", import.meta.url));
  // Node.js 26 warns of the localStorage that a dependency of the client libraries looks for.
  const parameters = ["--disable-warning=ExperimentalWarning", "--import", "tsx", script, mode];
  const child = spawn(process.execPath, parameters, { stdio: ["ignore", "pipe", "pipe"] });
  watchChild("printing", child);
  onTestFinished(() => void child.kill("SIGKILL"));
  const printed = Promise.all([text(child.stdout), text(child.stderr)]);
  const [[exitCode], [stdout, stderr]] = await Promise.all([once(child, "exit"), printed]);
  return { exitCode, stdout, stderr };
}

describe("the client library", () => {
  test("calls, floods, a death, lost and refused connections - print nothing, neither to stdout nor to stderr", async () => {
    expect(await printedBy("not asked")).toEqual({ exitCode: 0, stdout: "", stderr: "" });
  });

  test("with a baseLogger in clientOptions - prints what it has to say", async () => {
    expect(await printedBy("asked")).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/connecting/i) });
  });
});
