import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { COMMAND } from "../cli/command.js";
import { ensureBuilt, root, runNode } from "./build.js";

const runExample = (name: string, environment?: NodeJS.ProcessEnv) =>
  runNode(["--import", "tsx", `examples/${name}`], environment);

beforeAll(ensureBuilt, 120_000);

describe("npm start", () => {
  test("runs the demo", () => {
    const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
      readonly scripts: Readonly<Record<string, string>>;
    };
    expect(scripts.start).toMatch(/ node dist\/\S+ demo$/);
  });

  test("in a pipe - plain lines, all the work done, exit code 0", async () => {
    const { code, output } = await runNode([COMMAND, "demo"]);
    for (const line of [
      /bob: FLOOD_WAIT_6/,
      /heidi is dead \(AUTH_KEY_UNREGISTERED\)/,
      /^ 500\/500 done/m,
      /^ {2}heidi .* dead: AUTH_KEY_UNREGISTERED$/m,
      /^ {2}total +\d+ +400 /m,
      /^ {2}ok {2}400 of 400 messages arrived$/m,
      /^ {2}ok {2}0 duplicates/m,
      /^ {2}ok {2}100 of 100 usernames were resolved$/m,
      /^ {2}ok {2}0 violations/m,
      /^ {2}ok {2}1 connection per auth key at most$/m,
      /^ {2}ok {2}a restart remembers/m,
      /^All of it held, in \d+\.\d s\.$/m,
    ]) {
      expect(output).toMatch(line);
    }
    expect(output).not.toContain("\u001b");
    expect(output).not.toMatch(/MaxListeners|Unhandled/);
    expect(code).toBe(0);
  });

  test("with --keep - goes on, serves its dashboard, and ends with Ctrl-C", async () => {
    const demo = spawn(process.execPath, [COMMAND, "demo", "--keep"], {
      cwd: root,
      stdio: ["ignore", "pipe", "ignore"],
    });
    onTestFinished(() => void demo.kill("SIGKILL"));
    let output = "";
    demo.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
    const origin = await vi.waitFor(
      () => {
        const [, found] = /dashboard: (http:\/\/127\.0\.0\.1:\d+)\/ \(Ctrl-C ends it\)/.exec(output) ?? [];
        return found ?? expect.fail(output);
      },
      { timeout: 80_000, interval: 100 },
    );
    const state = await fetch(`${origin}/state`).then((response) => response.text());
    expect(JSON.parse(state)).toMatchObject({ names: ["pool"], pools: [{ status: { total: 8, dead: 1 } }] });
    demo.kill("SIGINT");
    expect(await once(demo, "exit")).toEqual([0, null]);
  });

  test("in a pipe whose reader has gone - ends and leaves nothing behind", async () => {
    const folder = mkdtempSync(join(tmpdir(), "demo-"));
    const demo = spawn(process.execPath, [COMMAND, "demo"], {
      cwd: root,
      env: { ...process.env, TMPDIR: folder },
      stdio: ["ignore", "pipe", "ignore"],
    });
    demo.stdout.once("data", () => demo.stdout.destroy());
    expect(await once(demo, "exit")).toEqual([141, null]);
    expect(readdirSync(folder).filter((name) => name.startsWith("telegram-session-pool-"))).toEqual([]);
    rmSync(folder, { recursive: true });
  });
});

describe("examples", () => {
  test("01-quickstart - says what it needs", async () => {
    const { code, output } = await runExample("01-quickstart.ts", { API_ID: "", API_HASH: "", SESSIONS: "" });
    expect(output.trim()).toBe(
      "Set API_ID and API_HASH (from https://my.telegram.org) and SESSIONS (StringSessions, separated by commas or newlines).",
    );
    expect(code).toBe(1);
  });

  test("05-leases-and-events - runs to its end", async () => {
    const { code, output } = await runExample("05-leases-and-events.ts");
    expect(output).toContain("waitingCount 1, nextReleaseIn 2 s");
    expect(output).toContain("A wait of 60 seconds is required");
    expect(code).toBe(0);
  });

  test("06-login - runs to its end", async () => {
    const { code, output } = await runExample("06-login.ts");
    expect(output).toContain("signed in with the code");
    expect(output).toContain("signed in with the QR code");
    expect(output).toContain("alice-laptop is user 700000001");
    expect(output).toContain("LOGIN_FLOOD_WAIT: Telegram asks to wait 60 s");
    expect(output).toContain("alice has 4 sessions");
    expect(code).toBe(0);
  });

  test("04-two-processes - one serves while the other has the session, and takes over when it is killed", async () => {
    const { code, output } = await runExample("04-two-processes.ts");
    for (const line of ["alice is foreign, so bob serves", "alice is mine again", "session strings in them: none"]) {
      expect(output).toContain(line);
    }
    expect(code).toBe(0);
  });
});
