import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { startTestServer } from "../../src/testing/index.js";
import { root } from "../examples/build.js";
import { Installed } from "./installed.js";

/** What a reader fills in; and the way to 127.0.0.1 instead of Telegram. */
const OF_THE_READER = `
  import { testServerClientOptions } from "telegram-session-pool/testing";
  const { host, port, sessions: [aliceSession, bobSession] } = JSON.parse(process.env.TEST_SERVER);
  const clientOptions = await testServerClientOptions({ host, port, library: "telegram" });
  const [apiId, apiHash] = [1, "0123456789abcdef0123456789abcdef"];
`;

test("README - the first snippet runs as JavaScript on this Node.js", async () => {
  const [, language, snippet = ""] = /```([jt]s)\n(.*?)```/s.exec(readFileSync(join(root, "README.md"), "utf8")) ?? [];
  expect(language).toBe("js");
  expect(snippet).toContain("client: gramjs({ apiId, apiHash }),");
  const program = snippet.replace("apiHash }),", "apiHash, clientOptions }), trustServers: true,");

  using installed = await Installed.with(["telegram", "keyv", "@keyv/sqlite"]);
  await using server = await startTestServer({ accounts: 2, library: "telegram" });
  const { host, port, sessions } = server;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--no-warnings", installed.write("snippet.mjs", OF_THE_READER + program)],
    { cwd: installed.folder, env: { ...process.env, TEST_SERVER: JSON.stringify({ host, port, sessions }) } },
  );
  expect(stdout).toMatch(/^\d+\n$/);
  expect(server.calls().map(({ method }) => method)).toContain("contacts.ResolveUsername");
}, 120_000);
