import { inspect } from "node:util";
import { expect, test } from "vitest";
import { CredentialEncryption, Secret } from "../../src/encryption/credentials.js";
import type { Sealer } from "../../src/encryption/sealer.js";
import { PooledSession } from "../../src/state/pooled-session.js";
import { StorageTimeout } from "../../src/storage/storage-timeout.js";
import { READ } from "../fakes/fake-telegram.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { openPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { dead } from "../fakes/telegram-errors.js";
import { settled, VirtualClock } from "../fakes/virtual-clock.js";

const PASSWORD = "canary-password";
const BASIC = Buffer.from(`u:${PASSWORD}`).toString("base64");
const HASH = "canary-api-hash";
const SESSION = sessionString("canary");
const OTHER = sessionString("other canary");

const deep = { depth: 20, showHidden: true, getters: false, maxArrayLength: null, maxStringLength: null } as const;

/** Everything that a log, a monitor or a curious person could print of a value. */
function printed(value: unknown): string {
  const texts = [inspect(value, deep), inspect(value), String(value)];
  if (value instanceof Error) texts.push(value.message, value.stack ?? "", printed(value.cause ?? ""));
  try {
    texts.push(JSON.stringify(value) ?? "", JSON.stringify(value, Object.getOwnPropertyNames(value ?? {})) ?? "");
  } catch {
    // What cannot be serialised gives nothing away.
  }
  return texts.join("\n");
}

function expectNoSecret(value: unknown): void {
  const text = printed(value);
  for (const secret of [SESSION, OTHER, SESSION.slice(40, 80), OTHER.slice(40, 80), PASSWORD, BASIC, HASH]) {
    expect(text.includes(secret)).toBe(false);
  }
}

test("a pool's events, errors, logs and inspect() - contain no session string, api hash or proxy password", async () => {
  const seen: unknown[] = [];
  const log = (message: string): void => void seen.push(message);
  const logger = { debug: log, info: log, warn: log, error: log };
  const storage = new FaultyStorage();
  await storage.write("damaged", 0, JSON.stringify({ v: 1, session: SESSION, tags: 5 }));
  await storage.write("halved", 0, `{"v":1,"session":"${OTHER}"`);
  const { pool, telegram, clock, told } = await openPool({ storage, logger });
  const proxy = { ip: "127.0.0.1", port: 1080, socksType: 5, username: "u", password: PASSWORD } as const;
  const profile = { apiId: 1, apiHash: HASH, proxy };
  const keep = async (action: Promise<unknown>): Promise<void> => {
    seen.push(await action.catch((error: unknown) => error));
  };
  await keep(pool.add("a", SESSION, { profile }));
  await keep(pool.add("b", SESSION, { profile }));
  await keep(pool.add("a", OTHER, { profile }));
  await keep(pool.add("c", SESSION.slice(0, -8)));
  await keep(pool.add("c", `${SESSION}${SESSION}`));
  await keep(pool.add(SESSION, "a"));
  await keep(pool.add("d", OTHER, { profile: { ...profile, proxy: { ...proxy, port: 0 } } }));
  for (const url of [
    `socks5://u:${PASSWORD}/x@127.0.0.1:1080`,
    `socks5://u:%${PASSWORD}@127.0.0.1:1080`,
    `socks4://u:${PASSWORD}@127.0.0.1:1080`,
    `https://u:${PASSWORD}@127.0.0.1:1080`,
    `u:${PASSWORD}@127.0.0.1:1080`,
    `tg://proxy?server=127.0.0.1&port=443&secret=${PASSWORD}`,
    `tg://socks?server=127.0.0.1/${PASSWORD}&port=443`,
  ]) {
    await keep(pool.add("d", OTHER, { profile: { ...profile, proxy: url } }));
    await keep(pool.update("a", { profile: { proxy: url } }));
  }
  await keep(pool.update("a", { profile, session: "no session" }));
  telegram.onConnect = () => {
    throw Object.assign(new Error("Socks5 proxy rejected connection"), {
      name: "SocksClientError",
      options: { proxy },
    });
  };
  await keep(pool.acquire({ id: "a" }));
  await clock.advance(1_000);
  await keep(pool.update("a", { profile: { ...profile, proxy: `http://u:${PASSWORD}@127.0.0.1:1080` } }));
  telegram.onConnect = () => {
    throw new Error(`the proxy says: ${PASSWORD}, or Basic ${BASIC}`);
  };
  await keep(pool.acquire({ id: "a" }));
  await clock.advance(2_000);
  telegram.onConnect = () => {};
  const lease = await pool.acquire();
  seen.push(lease, lease.session, lease.signal, pool.leases(), pool.status(), pool.sessions(), pool.rejected());
  storage.fateOfWrite = () => Promise.reject(Object.assign(new Error("disk full"), { code: "ENOSPC" }));
  telegram.onCall = () => {
    throw dead();
  };
  await keep(lease.client.call(READ));
  lease.release();
  await keep(lease.client.call(READ));
  await keep(pool.acquire());
  const disabling = watch(pool.disable("a"));
  await clock.advance(10_000);
  seen.push(disabling, pool, told);
  storage.heal();
  await pool.close();
  await keep(pool.acquire());
  await settled();
  expect(seen.length).toBeGreaterThan(20);
  for (const value of [...seen, told]) expectNoSecret(value);
});

test("toJSON() - shows the pool in numbers, with any listeners", async () => {
  const { pool } = await openPool({ sessions: ["a"] });
  pool.on("leased", () => {});
  expect(JSON.parse(JSON.stringify({ pool }))).toEqual({ pool: pool.status() });
  await pool.close();
});

test("exportSession() - the one deliberate way out", async () => {
  const { pool } = await openPool();
  await pool.add("a", SESSION);
  expect(await pool.exportSession("a")).toBe(SESSION);
  await expect(pool.exportSession("x")).rejects.toMatchObject({ code: "SESSION_NOT_FOUND" });
});

test("Secret - prints, inspects and serialises as [redacted]", () => {
  const secret = new Secret(SESSION);
  expect({
    string: String(secret),
    template: `${secret}`,
    inspected: inspect(secret),
    inspectedDeep: inspect({ secret }, deep),
    json: JSON.stringify({ secret }),
  }).toEqual({
    string: "[redacted]",
    template: "[redacted]",
    inspected: "[redacted]",
    inspectedDeep: "{ secret: [redacted] }",
    json: '{"secret":"[redacted]"}',
  });
  expect(secret.reveal()).toBe(SESSION);
});

const HALF_SEALED: Sealer = { seal: (_, text) => `sealed ${text}`, open: (_, sealed) => sealed.slice(7) };

test.each([
  ["plain", undefined, {}],
  ["with a profile", undefined, { apiHash: HASH }],
  ["sealed", HALF_SEALED, { apiHash: HASH }],
])("a session shows nothing of its credentials - %s", async (_, sealer, profile) => {
  const sealing = new CredentialEncryption(sealer, new StorageTimeout(new VirtualClock(), 5_000));
  const credentials = await sealing.seal("a", SESSION, profile);
  const session = new PooledSession({ id: "a", tags: [], addedAt: 0, credentials, fingerprint: "f".repeat(16) });
  for (const value of [session, credentials, { credentials }, [session]]) expectNoSecret(value);
  for (const value of [session, credentials]) {
    const text = inspect(value, { ...deep, customInspect: false });
    expect({ hasSession: text.includes(SESSION.slice(40, 80)), hasHash: text.includes(HASH) }).toEqual({
      hasSession: false,
      hasHash: false,
    });
  }
  expect({ session: credentials.reveal(), profile: credentials.profile }).toEqual({ session: SESSION, profile });
  const again = await sealing.open("a", credentials.stored);
  expect({ session: again.reveal(), profile: again.profile, stored: again.stored }).toEqual({
    session: SESSION,
    profile,
    stored: credentials.stored,
  });
});
