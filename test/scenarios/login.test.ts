import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { inspect } from "node:util";
import type { TelegramClient } from "telegram";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { LoginError, parseSession, SessionPool } from "../../src/index.js";
import { type CodeAnswer, type LoginPrompts, type LoginResult, login, type SentCode } from "../../src/login/index.js";
import { rsaFingerprint } from "../../src/telegram/rsa-key.js";
import { startTestServer, type TelegramTestServer, type TestServerOptions } from "../../src/testing/index.js";
import { KeyExchange } from "../../src/testing/test-server/key-exchange.js";
import { remember } from "../canary/session-finder.js";
import { Api, libraryName, telegramAdapter } from "../fakes/client-library.js";
import { API_HASH, API_ID, nameOf, rejection, until, within } from "./support.js";

const serverKeys = (): Promise<typeof import("telegram/crypto/RSA.js")> => import(`${libraryName}/crypto/RSA.js`);

const PHONE = "+99 966 123 45";
const DIGITS = "9996612345";
const PASSWORD = "correct horse battery";

type Account = NonNullable<Exclude<TestServerOptions["accounts"], number>>[number];

/** A server with Alice, who has no session on this machine yet. */
async function alices(account: Account = {}, options: TestServerOptions = {}): Promise<TelegramTestServer> {
  const server = await startTestServer({
    library: libraryName,
    accounts: [{ name: "alice", phone: PHONE, ...account }],
    ...options,
  });
  for (const session of server.sessions) remember(session);
  onTestFinished(async () => {
    await until("every connection is closed", () => openConnections(server) === 0).finally(() => server.close());
    expect(server.maxConnectionsPerKey(), "connections per key").toBeLessThanOrEqual(1);
  });
  return server;
}

const openConnections = (server: TelegramTestServer): number =>
  server.connections().filter(({ closedAt }) => closedAt === null).length;

const adapterOf = (server: TelegramTestServer) =>
  telegramAdapter({ apiId: API_ID, apiHash: API_HASH, server: server.server });

async function signIn(server: TelegramTestServer, prompts: LoginPrompts): Promise<LoginResult> {
  const result = await within(10_000, login(adapterOf(server), prompts));
  remember(result.session);
  return result;
}

const codeOf = (server: TelegramTestServer): string => server.sentCodes(PHONE).at(-1)?.code ?? "";

/** What the session is good for: a pool with it alone says whose it is. */
async function ownerOf(server: TelegramTestServer, session: string): Promise<string> {
  await using pool = await SessionPool.open<TelegramClient>({ client: adapterOf(server), trustServers: true });
  await pool.add("new", session);
  return pool.use(nameOf);
}

const methodsOf = (server: TelegramTestServer): readonly string[] =>
  server
    .calls()
    .filter(({ isConnect }) => !isConnect)
    .map(({ method }) => method);

/** Prompts that answer correctly; `asked` collects what they were given. */
function byPhone(server: TelegramTestServer, asked: unknown[] = []) {
  return {
    phone: () => PHONE,
    code: (sent: SentCode): CodeAnswer => {
      asked.push(sent);
      return codeOf(server);
    },
  };
}

/** Scans each code as soon as it is shown. */
function byQr(server: TelegramTestServer) {
  return { qr: (url: string) => server.acceptLogin("alice", url) };
}

/** Nothing but the authorizations that there were, and no connection. */
async function expectNothingLeft(server: TelegramTestServer): Promise<void> {
  await until("every connection is closed", () => openConnections(server) === 0);
  expect(server.authorizationCount("alice"), "authorizations").toBe(1);
}

describe("login() - phone and code", () => {
  test("the right code - a session of its own, and whose it is", async () => {
    const server = await alices();
    const asked: unknown[] = [];
    const { session, accountId } = await signIn(server, byPhone(server, asked));
    expect(asked).toEqual([{ via: "app", length: 5, nextVia: "sms", resendAfterSeconds: 60, retryReason: null }]);
    expect(accountId).toBe(String(server.accounts[0]?.userId));
    expect(server.authorizationCount("alice")).toBe(2);
    expect(await ownerOf(server, session)).toBe("alice");
  });

  test("the account has a password - asked for with its hint, a wrong one again", async () => {
    const server = await alices({ password: PASSWORD, passwordHint: "a horse" });
    const asked: unknown[] = [];
    const { session } = await signIn(server, {
      ...byPhone(server),
      password: (hint, attempt) => {
        asked.push([hint, attempt]);
        return attempt === 1 ? "wrong" : PASSWORD;
      },
    });
    expect(asked).toEqual([
      ["a horse", 1],
      ["a horse", 2],
    ]);
    expect(await ownerOf(server, session)).toBe("alice");
  });

  test("three wrong passwords - LOGIN_PASSWORD_INVALID, nothing is left", async () => {
    const server = await alices({ password: PASSWORD });
    const error = await rejection<LoginError>(signIn(server, { ...byPhone(server), password: () => "wrong" }));
    expect(error).toBeInstanceOf(LoginError);
    expect(error).toMatchObject({ code: "LOGIN_PASSWORD_INVALID", reason: "PASSWORD_HASH_INVALID" });
    expect(methodsOf(server).filter((method) => method === "auth.CheckPassword")).toHaveLength(3);
    expect(methodsOf(server).at(-1)).toBe("auth.LogOut");
    await expectNothingLeft(server);
  });

  test("a password without a callback for it - LOGIN_PASSWORD_NEEDED", async () => {
    const server = await alices({ password: PASSWORD });
    const error = await rejection(signIn(server, byPhone(server)));
    expect(error).toMatchObject({ code: "LOGIN_PASSWORD_NEEDED" });
    await expectNothingLeft(server);
  });

  test("a wrong code - asked for again", async () => {
    const server = await alices();
    const reasons: unknown[] = [];
    await signIn(server, {
      phone: () => PHONE,
      code: ({ retryReason }) => {
        reasons.push(retryReason);
        return retryReason === null ? "0" : ` ${codeOf(server)} `;
      },
    });
    expect(reasons).toEqual([null, "invalid"]);
  });

  test("three wrong codes - LOGIN_CODE_INVALID, and the code that was sent is taken back", async () => {
    const server = await alices();
    const error = await rejection(signIn(server, { phone: () => PHONE, code: () => "0" }));
    expect(error).toMatchObject({ code: "LOGIN_CODE_INVALID", reason: "PHONE_CODE_INVALID" });
    expect(methodsOf(server)).toContain("auth.CancelCode");
    await expectNothingLeft(server);
  });

  test("the code has expired - another one is sent", async () => {
    const server = await alices();
    const reasons: unknown[] = [];
    await signIn(server, {
      phone: () => PHONE,
      code: ({ retryReason }) => {
        reasons.push(retryReason);
        if (retryReason === null) server.expireCodes();
        return codeOf(server);
      },
    });
    expect(reasons).toEqual([null, "expired"]);
    expect(server.sentCodes(PHONE)).toHaveLength(2);
  });

  test("{ resend: true } - sent again by the next way, until there is none", async () => {
    const server = await alices();
    const asked: SentCode[] = [];
    await signIn(server, {
      phone: () => PHONE,
      code: (sent) => {
        asked.push(sent);
        return sent.retryReason === "notResent" ? codeOf(server) : { resend: true };
      },
    });
    expect(asked.map(({ via, nextVia, retryReason }) => [via, nextVia, retryReason])).toEqual([
      ["app", "sms", null],
      ["sms", "call", "resent"],
      ["call", null, "resent"],
      ["call", null, "notResent"],
    ]);
  });

  test("a number that is none - asked for again, three times", async () => {
    const server = await alices();
    const numbers = ["1", "12", PHONE];
    await signIn(server, { ...byPhone(server), phone: (attempt) => numbers[attempt - 1] ?? "" });
    const error = await rejection(signIn(server, { ...byPhone(server), phone: () => "1" }));
    expect(error).toMatchObject({ code: "LOGIN_PHONE_INVALID" });
  });

  test("a number without an account - SIGN_UP_REQUIRED", async () => {
    const server = await alices();
    const stranger = "99966 777 00";
    const error = await rejection(
      signIn(server, { phone: () => stranger, code: () => server.sentCodes(stranger).at(-1)?.code ?? "" }),
    );
    expect(error).toMatchObject({ code: "SIGN_UP_REQUIRED" });
    expect(methodsOf(server)).not.toContain("auth.SignUp");
    await expectNothingLeft(server);
  });

  test.each([
    ["auth.SendCode", "FLOOD_WAIT_77"],
    ["auth.SignIn", "FLOOD_WAIT_77"],
  ])("FLOOD_WAIT in answer to %s - LOGIN_FLOOD_WAIT with its seconds", async (method, message) => {
    const server = await alices();
    server.fail({ method, message });
    const error = await rejection<LoginError>(signIn(server, byPhone(server)));
    expect(error).toMatchObject({ code: "LOGIN_FLOOD_WAIT", seconds: 77 });
    expect(error.message).toContain("77 s");
    await expectNothingLeft(server);
  });

  test("PHONE_NUMBER_BANNED - LOGIN_REFUSED with Telegram's code", async () => {
    const server = await alices();
    server.fail({ method: "auth.SendCode", message: "PHONE_NUMBER_BANNED" });
    const error = await rejection(signIn(server, byPhone(server)));
    expect(error).toMatchObject({ code: "LOGIN_REFUSED", reason: "PHONE_NUMBER_BANNED" });
    expect(String(error)).not.toContain(DIGITS);
  });

  test("the account lives in another data center - moves there", async () => {
    const server = await alices({ dcId: 4 }, { dataCenters: [2, 4] });
    const { session } = await signIn(server, byPhone(server));
    expect(parseSession(session).dcId).toBe(4);
    expect(await ownerOf(server, session)).toBe("alice");
  });

  test.each(["USER_MIGRATE_4", "NETWORK_MIGRATE_4"])("%s - moves there", async (message) => {
    const server = await alices({}, { dataCenters: [2, 4] });
    server.fail({ method: "auth.SendCode", code: 303, message, times: 1 });
    server.fail({ method: "auth.SendCode", code: 303, message: "PHONE_MIGRATE_2", times: 1 });
    const { session } = await signIn(server, byPhone(server));
    expect(parseSession(session).dcId).toBe(2);
  });
});

describe("login() - QR code", () => {
  test("scanned - a session of its own", async () => {
    const server = await alices();
    const shown: unknown[] = [];
    const { session, accountId } = await signIn(server, {
      qr: (url, expiresAt) => {
        shown.push([url, expiresAt]);
        server.acceptLogin("alice", url);
      },
    });
    expect(shown).toEqual([[expect.stringMatching(/^tg:\/\/login\?token=[\w-]{43}$/), expect.any(Number)]]);
    expect(accountId).toBe(String(server.accounts[0]?.userId));
    expect(await ownerOf(server, session)).toBe("alice");
  });

  test("when it is not scanned - is renewed before it expires", async () => {
    const server = await alices({}, { loginTokenMs: 4_000 });
    const shown: { url: string; expiresAt: number; at: number }[] = [];
    await signIn(server, {
      qr: (url, expiresAt) => {
        shown.push({ url, expiresAt, at: Date.now() });
        if (shown.length === 3) server.acceptLogin("alice", url);
      },
    });
    expect(new Set(shown.map(({ url }) => url)).size).toBe(3);
    for (const [i, { at }] of shown.slice(1).entries()) expect(at).toBeLessThan(shown[i]?.expiresAt ?? 0);
  });

  test("an older code that is still good is scanned - signed in", async () => {
    const server = await alices({}, { loginTokenMs: 4_000 });
    const shown: string[] = [];
    const { accountId } = await signIn(server, {
      qr: (url) => {
        shown.push(url);
        if (shown.length === 2) server.acceptLogin("alice", shown[0] ?? "");
      },
    });
    expect(accountId).toBe(String(server.accounts[0]?.userId));
  });

  test("accepted by another session of the account - signed in", async () => {
    const server = await alices();
    await using pool = await SessionPool.open<TelegramClient>({ client: adapterOf(server), trustServers: true });
    await pool.add("alice", server.sessions[0] ?? "");
    const { session } = await signIn(server, {
      qr: async (url) => {
        const token = Buffer.from(url.split("=")[1] ?? "", "base64url");
        await pool.invoke(new Api.auth.AcceptLoginToken({ token }));
      },
    });
    expect(await ownerOf(server, session)).toBe("alice");
  });

  test("the account has a password and lives elsewhere - moves, and asks with the hint", async () => {
    const account = { dcId: 4, password: PASSWORD, passwordHint: "a horse" };
    const server = await alices(account, { dataCenters: [2, 4] });
    const hints: unknown[] = [];
    const { session } = await signIn(server, {
      ...byQr(server),
      password: (hint) => {
        hints.push(hint);
        return PASSWORD;
      },
    });
    expect(hints).toEqual(["a horse"]);
    expect(parseSession(session).dcId).toBe(4);
    expect(await ownerOf(server, session)).toBe("alice");
  });

  test("the connection is lost while the code is shown - goes on over another one", async () => {
    const server = await alices({}, { loginTokenMs: 4_000 });
    let count = 0;
    await signIn(server, {
      qr: (url) => {
        count += 1;
        if (count === 1) server.disconnect();
        else server.acceptLogin("alice", url);
      },
    });
    expect(count).toBe(2);
  });

  test("the prompt fails - its error, nothing is left", async () => {
    const server = await alices();
    const failure = new Error("no terminal");
    const login = signIn(server, {
      qr: async () => {
        throw failure;
      },
    });
    expect(await rejection(login)).toBe(failure);
    await expectNothingLeft(server);
  });
});

describe("login() - canceled", () => {
  const reason = new Error("changed my mind");

  test.each(["phone", "code", "password", "qr"] as const)("while %s is asked for - nothing is left", async (asked) => {
    const server = await alices({ password: PASSWORD });
    const abort = new AbortController();
    const hang = <T>(): Promise<T> => {
      abort.abort(reason);
      return new Promise<T>(() => {});
    };
    const prompts: LoginPrompts =
      asked === "qr"
        ? { qr: hang, signal: abort.signal }
        : {
            phone: (): string | Promise<string> => (asked === "phone" ? hang() : PHONE),
            code: (): CodeAnswer | Promise<CodeAnswer> => (asked === "code" ? hang() : codeOf(server)),
            password: hang,
            signal: abort.signal,
          };
    expect(await rejection(signIn(server, prompts))).toBe(reason);
    if (asked === "code") expect(methodsOf(server)).toContain("auth.CancelCode");
    if (asked === "password") expect(methodsOf(server)).toContain("auth.LogOut");
    await expectNothingLeft(server);
  });

  test("while a request is under way that signs in - it is signed out again", async () => {
    const server = await alices();
    const abort = new AbortController();
    server.delay({ method: "auth.SignIn", delayMs: 300 });
    const login = signIn(server, { ...byPhone(server), signal: abort.signal });
    login.catch(() => {});
    await until("the sign-in is under way", () => methodsOf(server).includes("auth.SignIn"));
    abort.abort(reason);
    expect(await rejection(login)).toBe(reason);
    expect(methodsOf(server).at(-1)).toBe("auth.LogOut");
    await expectNothingLeft(server);
  });

  test("while it connects - at once", async () => {
    const server = await alices();
    server.ignore();
    const abort = new AbortController();
    const login = signIn(server, { ...byPhone(server), signal: abort.signal });
    login.catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 100));
    abort.abort(reason);
    expect(await rejection(login, 1_000)).toBe(reason);
    await expectNothingLeft(server);
  });

  test("ten logins, every second one given up - no timer and no socket is left", async () => {
    const server = await alices();
    const resources = (): readonly string[] =>
      process.getActiveResourcesInfo().filter((name) => name === "Timeout" || name === "TCPSocketWrap");
    await signIn(server, byPhone(server));
    await until("every connection is closed", () => openConnections(server) === 0);
    const before = resources().length;
    for (let round = 0; round < 10; round++) {
      const abort = new AbortController();
      const code = (): CodeAnswer => {
        if (round % 2 === 1) abort.abort(reason);
        return codeOf(server);
      };
      const signingIn = signIn(server, { phone: () => PHONE, code, signal: abort.signal });
      if (round % 2 === 1) expect(await rejection(signingIn)).toBe(reason);
      else await signingIn;
    }
    await until("every connection is closed", () => openConnections(server) === 0);
    // The timer of `until` itself has ended by now; what else ends in this moment is not counted.
    await until("nothing is left", () => resources().length <= before);
    expect(server.authorizationCount("alice")).toBe(7);
  });

  test("before it begins - nothing is opened", async () => {
    const server = await alices();
    const login = signIn(server, { ...byPhone(server), signal: AbortSignal.abort(reason) });
    expect(await rejection(login)).toBe(reason);
    expect(server.connections()).toEqual([]);
  });
});

describe("login() - the server", () => {
  test("does not answer - ConnectError after connectTimeoutMs", async () => {
    const server = await alices();
    server.ignore();
    const slow = login(adapterOf(server), byPhone(server), { connectTimeoutMs: 300 });
    expect(await rejection(slow)).toMatchObject({ code: "CONNECT_FAILED" });
    await expectNothingLeft(server);
  });

  test("a proxy that is not there - ConnectError without its password, and nothing goes past it", async () => {
    const server = await alices();
    const listener = createServer().listen(0, "127.0.0.1");
    await once(listener, "listening");
    const { port } = listener.address() as AddressInfo;
    await new Promise((resolve) => listener.close(resolve));
    const proxy = { ip: "127.0.0.1", port, socksType: 5, username: "alice", password: "proxy-password" } as const;
    const error = await rejection(login(adapterOf(server), byPhone(server), { profile: { proxy } }));
    expect(error).toMatchObject({ code: "CONNECT_FAILED" });
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain("proxy-password");
    expect(server.connections()).toEqual([]);
  });

  test.runIf(libraryName === "telegram")("a key exchange that fails once, as GramJS's does - is repeated", async () => {
    const server = await alices();
    const { receive } = KeyExchange.prototype;
    let exchanges = 0;
    const spy = vi.spyOn(KeyExchange.prototype, "receive").mockImplementation(function (this: KeyExchange, body) {
      const step = receive.call(this, body);
      if (step?.agreed !== undefined && exchanges++ === 0)
        step.answer.writeUInt8(step.answer.at(-1) === 1 ? 2 : 1, step.answer.length - 1);
      return step;
    });
    onTestFinished(() => spy.mockRestore());
    const { session } = await signIn(server, byPhone(server));
    // More than two when GramJS fails by itself, as with every 256th key.
    expect(exchanges).toBeGreaterThanOrEqual(2);
    expect(await ownerOf(server, session)).toBe("alice");
  });

  test("does not answer a request - CallTimeoutError after callTimeoutMs", async () => {
    const server = await alices();
    server.mute({ method: "auth.SendCode" });
    const slow = login(adapterOf(server), byPhone(server), { callTimeoutMs: 300 });
    expect(await rejection(slow)).toMatchObject({ code: "CALL_TIMEOUT" });
    await expectNothingLeft(server);
  });

  test("has another RSA key than the one given - ConnectError, and no key is made", async () => {
    const server = await alices();
    const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const pem = publicKey.export({ type: "spki", format: "pem" }).toString();
    const adapter = telegramAdapter({
      apiId: API_ID,
      apiHash: API_HASH,
      server: { ...server.server, publicKey: pem },
    });
    // The library's table is one for all clients: what an earlier test has added is taken out.
    const { _serverKeys } = await serverKeys();
    _serverKeys.delete(String(rsaFingerprint(server.server.publicKey)));
    expect(await rejection(login(adapter, byPhone(server)))).toMatchObject({ code: "CONNECT_FAILED" });
    expect(server.calls()).toEqual([]);
  });

  test.each([
    ["dcId", 0],
    ["host", ""],
    ["port", 70_000],
    ["publicKey", "none"],
    ["name", "x"],
  ])("option server, %s is wrong - OptionsError", async (field, value) => {
    const server = await alices();
    const options = { apiId: API_ID, apiHash: API_HASH, server: { ...server.server, [field]: value } };
    expect(() => telegramAdapter(options)).toThrow(expect.objectContaining({ code: "INVALID_OPTIONS" }));
  });
});

describe("login() - arguments and secrets", () => {
  test("the result - shows no session", async () => {
    const server = await alices();
    const result = await signIn(server, byPhone(server));
    const { session } = result;
    for (const text of [inspect(result, { showHidden: true }), JSON.stringify(result), String(result)]) {
      expect(text).not.toContain(session.slice(20, 60));
    }
    expect(parseSession(session).authKey).toHaveLength(256);
  });

  test.each<[string, object]>([
    ["no prompts", {}],
    ["both ways", { qr: () => {}, phone: () => "", code: () => "" }],
    ["no code", { phone: () => "" }],
    ["a signal that is none", { qr: () => {}, signal: {} }],
    ["a password that is no function", { qr: () => {}, password: "x" }],
  ])("%s - OptionsError", async (_, prompts) => {
    const server = await alices();
    expect(await rejection(signIn(server, prompts as never))).toMatchObject({ code: "INVALID_OPTIONS" });
  });

  test("a prompt that answers with something else - OptionsError, nothing is left", async () => {
    const server = await alices();
    expect(await rejection(signIn(server, { phone: () => 1 as never, code: () => "" }))).toMatchObject({
      code: "INVALID_OPTIONS",
    });
    expect(await rejection(signIn(server, { phone: () => PHONE, code: () => 1 as never }))).toMatchObject({
      code: "INVALID_OPTIONS",
    });
    await expectNothingLeft(server);
  });

  test("the profile - is what Telegram sees", async () => {
    const server = await alices();
    const result = await login(adapterOf(server), byPhone(server), { profile: { deviceModel: "Lighthouse" } });
    remember(result.session);
    await using pool = await SessionPool.open<TelegramClient>({ client: adapterOf(server), trustServers: true });
    await pool.add("alice", server.sessions[0] ?? "");
    const { authorizations } = await pool.invoke(new Api.account.GetAuthorizations());
    expect(authorizations.map(({ deviceModel }) => deviceModel)).toContain("Lighthouse");
  });
});
