import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { sqlite } from "../../adapters/storage/sqlite.js";
import { SessionPool } from "../../src/session-pool.js";
import { ensureBuilt } from "../examples/build.js";
import { FakeTelegram } from "../fakes/fake-telegram.js";
import { sessionString } from "../fakes/sessions.js";
import { VirtualClock } from "../fakes/virtual-clock.js";
import { Folder, lock } from "./command.js";
import { hasPseudoTerminal, TerminalSession } from "./terminal.js";

beforeAll(ensureBuilt, 120_000);

/** A command gives a server 10 s; a busy machine needs some more. */
const ENDS_WITHIN_MS = 40_000;

/** Takes connections, and never says anything. Resolves when the first has come. */
async function silentServer(): Promise<{ readonly port: number; readonly connected: Promise<unknown> }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => sockets.add(socket.on("error", () => {})));
  const connected = once(server, "connection");
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, connected };
}

describe("a server that takes connections and never answers", () => {
  test.concurrent.each([
    ["redis", "list"],
    ["redis", "status", "--watch"],
    ["redis", "disable", "a"],
    ["redis", "doctor"],
    ["rediss", "list"],
    ["postgres", "list"],
  ])(
    "%s: %s - ends with a sentence",
    async (scheme, ...words) => {
      const { port } = await silentServer();
      const folder = new Folder();
      const began = performance.now();
      const { code, stdout, stderr } = await folder.run([...words, "--storage", `${scheme}://127.0.0.1:${port}`]);
      expect({ code, text: `${stdout}${stderr}` }).toEqual({
        code: 1,
        text: expect.stringMatching(/cannot be reached: \w/),
      });
      expect(performance.now() - began).toBeLessThan(ENDS_WITHIN_MS);
    },
    ENDS_WITHIN_MS * 2,
  );

  test.skipIf(!hasPseudoTerminal).each([
    ["redis", "list"],
    ["redis", "status", "--watch"],
    ["redis", "disable", "a"],
    ["rediss", "list"],
    ["postgres", "list"],
    ["postgres", "disable", "a"],
  ])("%s: %s - ends at once by Ctrl-C", async (scheme, ...words) => {
    const { port, connected } = await silentServer();
    const folder = new Folder();
    await using terminal = new TerminalSession(folder, [...words, "--storage", `${scheme}://127.0.0.1:${port}`]);
    await connected;
    const began = performance.now();
    terminal.interrupt();
    expect(await terminal.ended).toBe(130);
    expect(performance.now() - began).toBeLessThan(8_000);
  });
});

test.skipIf(!hasPseudoTerminal)(
  "list - Ctrl-C ends the wait for a SQLite file that another process has locked",
  async () => {
    const folder = new Folder();
    const pool = await SessionPool.open({
      client: new FakeTelegram(new VirtualClock()),
      storage: sqlite(folder.file("sessions.db")),
    });
    await pool.add("a", sessionString("a"));
    await pool.close();
    const unlock = await lock(folder, "EXCLUSIVE");
    await using terminal = new TerminalSession(folder, ["list"]);
    await new Promise((resolve) => setTimeout(resolve, 100));
    terminal.interrupt();
    expect(await terminal.ended).toBe(130);
    await unlock();
  },
);

test.skipIf(process.platform === "win32")("list - a FIFO is no storage", async () => {
  const folder = new Folder();
  spawnSync("mkfifo", [folder.file("sessions.db")]);
  const { code, stderr } = await folder.run(["list"]);
  expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("is not a file") });
});
