import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import KeyvSqlite from "@keyv/sqlite";
import Keyv from "keyv";
import { expect, onTestFinished, test } from "vitest";
import { keyv } from "../../../adapters/storage/keyv.js";
import { SessionPool, StorageError } from "../../../src/index.js";
import { FakeTelegram } from "../../fakes/fake-telegram.js";
import { VirtualClock } from "../../fakes/virtual-clock.js";

const HOLDER = fileURLToPath(new URL("./keyv-holder.ts", import.meta.url));

test("keyv() - a second process on one file is refused while the first one lives, and not a moment longer", async () => {
  const folder = mkdtempSync(join(tmpdir(), "keyv-processes-"));
  const path = join(folder, "keyv.db");
  const child = spawn(process.execPath, ["--import", "tsx", HOLDER, path], { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  });
  await once(child.stdout, "data");
  const open = () =>
    SessionPool.open({
      client: new FakeTelegram(new VirtualClock()),
      storage: keyv(new Keyv({ store: new KeyvSqlite(`sqlite://${path}`) })),
    });
  const error = await open().catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(StorageError);
  expect((error as Error).message).toContain(`pid ${child.pid}`);
  child.kill("SIGKILL");
  await once(child, "exit");
  const pool = await open();
  await pool.close();
});
