import { readFileSync, statSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { ensureBuilt } from "../examples/build.js";
import { Folder } from "./command.js";
import { hasPseudoTerminal, TerminalSession } from "./terminal.js";

beforeAll(ensureBuilt, 120_000);

describe.skipIf(!hasPseudoTerminal)("test-server", () => {
  test("runs until Ctrl-C and prints how to connect", async () => {
    const folder = new Folder();
    const words = ["test-server", "--accounts", "2", "--file", "server.json", "--sessions", "sessions.txt"];
    await using terminal = new TerminalSession(folder, words);
    const [, port] = await terminal.until(/A Telegram server listens on 127\.0\.0\.1:(\d+)\. Accounts: 2\./);
    await terminal.until(/SESSION_POOL_TEST_SERVER=server\.json/);
    expect(JSON.parse(readFileSync(folder.file("server.json"), "utf8"))).toMatchObject({
      dcId: 2,
      host: "127.0.0.1",
      port: Number(port),
    });
    expect(readFileSync(folder.file("sessions.txt"), "utf8").trim().split("\n")).toHaveLength(2);
    expect(statSync(folder.file("sessions.txt")).mode & 0o077).toBe(0);
    terminal.interrupt();
    expect(await terminal.ended).toBe(0);
  });
});

test("test-server --accounts - a number that is none is refused", async () => {
  const { code, stderr } = await new Folder().run(["test-server", "--accounts", "many"]);
  expect(stderr).toMatch(/^error: --accounts must be a whole number from 1 to 100000; got "many"\.$/m);
  expect(code).toBe(2);
});
