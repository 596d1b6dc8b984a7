import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { aesGcm } from "../../src/index.js";
import { assertNoSecretInFiles } from "../secrets/secrets-in-files.js";
import { API_HASH, message, nameOf, stage } from "./support.js";

const PROFILE = { apiId: 4_712, apiHash: API_HASH };

test("encryption - no byte of the database files shows a session, an api hash or a peer, during work and after it", async () => {
  const { server, file, open } = await stage({ accounts: 3 });
  const [old, key] = [randomBytes(32), randomBytes(32)];
  server.fail({ method: "messages.SendMessage", message: "FLOOD_WAIT_1", times: 2 });
  const pool = await open({ encryption: aesGcm(old) });
  await pool.update("account1", { profile: PROFILE });
  await pool.invoke(message("hello", "a_proper_name"), { retry: "any" });
  const hash = await pool.use(async (client) => {
    const peer = await client.getInputEntity("user1");
    return "accessHash" in peer ? String(peer.accessHash) : "";
  });
  expect(hash).toMatch(/^-?\d{6,}$/);
  const sessions = await Promise.all(pool.sessions().map(({ id }) => pool.exportSession(id)));
  const secrets = [...sessions, API_HASH, hash, "a_proper_name"];
  const look = (): void => assertNoSecretInFiles([file], secrets);
  look();
  await pool.close();
  look();

  const rotating = await open({ encryption: aesGcm([key, old]) });
  expect(await rotating.rotateKeys()).toBe(3);
  look();
  await rotating.close();

  const last = await open({ encryption: aesGcm(key) });
  expect({ rejected: last.rejected(), name: await last.use(nameOf, { id: "account1" }) }).toEqual({
    rejected: [],
    name: "account1",
  });
  await last.close();
  look();
});

test("encryption - when off, the same search finds them", async () => {
  const { file, open } = await stage();
  const pool = await open();
  const session = await pool.exportSession("account1");
  await pool.close();
  expect(() => assertNoSecretInFiles([file], [session])).toThrow("holds secret 1 of 1");
});
