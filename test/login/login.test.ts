import { randomBytes } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import type { ClientAdapter, SignInClient, SignInOptions, TelegramObject } from "../../src/adapter.js";
import { type LoginPrompts, login } from "../../src/login/index.js";
import { PasswordChallenge, passwordVerifier, TELEGRAM_PRIME } from "../../src/telegram/srp.js";
import { settled, VirtualClock } from "../fakes/virtual-clock.js";

type Answer = TelegramObject | Error | (() => TelegramObject | Error | Promise<TelegramObject | Error>);

const AUTHORIZATION = { className: "auth.Authorization", user: { className: "User", id: 42n } };
const SUCCESS = { className: "auth.LoginTokenSuccess", authorization: AUTHORIZATION };
const SENT = {
  className: "auth.SentCode",
  type: { className: "auth.SentCodeTypeApp", length: 5 },
  phoneCodeHash: "hash",
};
const token = (expires: number): TelegramObject => ({ className: "auth.LoginToken", token: randomBytes(16), expires });
const refusal = (errorMessage: string, code = 400): Error =>
  Object.assign(new Error(`${code}: ${errorMessage} (caused by auth.Some)`), { errorMessage, code });

/** A client that answers each method by its script, the last answer again and again. */
class ScriptedClient implements SignInClient {
  readonly dcId = 2;
  readonly calls: string[] = [];
  readonly moves: (number | undefined)[] = [];
  isClosed = false;
  options: SignInOptions | undefined;
  readonly #script: Record<string, Answer[]>;

  constructor(script: Record<string, Answer[]>) {
    this.#script = script;
  }

  async connect(_signal: AbortSignal, dcId?: number): Promise<void> {
    this.moves.push(dcId);
  }

  async call(method: string): Promise<TelegramObject> {
    this.calls.push(method);
    const left = this.#script[method] ?? [];
    const next = left.length > 1 ? left.shift() : left[0];
    const answer = typeof next === "function" ? await next() : next;
    if (answer instanceof Error || answer === undefined) throw answer ?? refusal("METHOD_INVALID");
    return answer;
  }

  application(): { readonly apiId: number; readonly apiHash: string } {
    return { apiId: 1, apiHash: "x" };
  }

  session() {
    const authKey = randomBytes(256);
    return { dcId: 2, serverAddress: "127.0.0.1", port: 443, authKey, format: "gramjs" as const, isTest: false };
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }
}

const adapterOf = (client: ScriptedClient): ClientAdapter<never> => ({
  open: async () => {},
  create: () => {
    throw new Error("Not used here.");
  },
  invoke: async () => undefined,
  createSignIn: (options) => {
    client.options = options;
    return client;
  },
});

let clock: VirtualClock;
beforeEach(() => {
  clock = new VirtualClock();
});

async function run(script: Record<string, Answer[]>, prompts: LoginPrompts) {
  const client = new ScriptedClient(script);
  const outcome = await login(adapterOf(client), prompts, { clock }).then(
    ({ accountId }) => ({ accountId }),
    (error: unknown) => ({ error }),
  );
  expect(client.isClosed, "the client is closed").toBe(true);
  return { client, ...outcome } as { client: ScriptedClient; accountId?: string; error?: unknown };
}

const byPhone: LoginPrompts = { phone: () => "999", code: () => "1" };

describe("login() - QR code", () => {
  test("a token of 30 s - renewed 3 s before it expires, and no timer is left", async () => {
    const seconds = (): number => Math.floor(clock.now() / 1_000);
    const script = { "auth.ExportLoginToken": [() => token(seconds() + 30), () => token(seconds() + 30), SUCCESS] };
    const client = new ScriptedClient(script);
    const shown: number[] = [];
    const signingIn = login(adapterOf(client), { qr: () => void shown.push(clock.now()) }, { clock });
    await settled();
    expect(shown).toHaveLength(1);
    await clock.advance(26_999);
    expect(shown).toHaveLength(1);
    await clock.advance(1);
    await settled();
    expect(shown).toHaveLength(2);
    await clock.advance(27_000);
    expect((await signingIn).accountId).toBe("42");
    expect(clock.pending).toBe(0);
  });

  test("updateLoginToken - asked at once", async () => {
    const script = { "auth.ExportLoginToken": [() => token(clock.now() / 1_000 + 30), SUCCESS] };
    const client = new ScriptedClient(script);
    const signingIn = login(adapterOf(client), { qr: () => client.options?.onLoginToken() }, { clock });
    expect((await signingIn).accountId).toBe("42");
  });

  test("the token expires on its way to the account's data center - another one is asked for", async () => {
    const migrate = { className: "auth.LoginTokenMigrateTo", dcId: 4, token: randomBytes(16) };
    const { client, accountId } = await run(
      { "auth.ExportLoginToken": [migrate], "auth.ImportLoginToken": [refusal("AUTH_TOKEN_EXPIRED"), SUCCESS] },
      { qr: () => {} },
    );
    expect(accountId).toBe("42");
    expect(client.moves).toEqual([undefined, 4, 4]);
  });

  test("tokens that are always refused - LOGIN_REFUSED", async () => {
    const migrate = { className: "auth.LoginTokenMigrateTo", dcId: 4, token: randomBytes(16) };
    const { error } = await run(
      { "auth.ExportLoginToken": [migrate], "auth.ImportLoginToken": [refusal("AUTH_TOKEN_INVALID")] },
      { qr: () => {} },
    );
    expect(error).toMatchObject({ code: "LOGIN_REFUSED", reason: "AUTH_TOKEN_INVALID" });
  });
});

describe("login() - phone and code", () => {
  test("Telegram knows the device - signed in without a code", async () => {
    const { accountId } = await run(
      { "auth.SendCode": [{ className: "auth.SentCodeSuccess", authorization: AUTHORIZATION }] },
      { phone: () => "999", code: () => expect.unreachable() },
    );
    expect(accountId).toBe("42");
  });

  test.each([
    { className: "auth.SentCodePaymentRequired" },
    { ...SENT, type: { className: "auth.SentCodeTypeSetUpEmailRequired" } },
  ])("only Telegram's own apps can go on - LOGIN_REFUSED", async (answer) => {
    const { error } = await run({ "auth.SendCode": [answer] }, byPhone);
    expect(error).toMatchObject({ code: "LOGIN_REFUSED" });
  });

  test("sent from one data center to the next - at most three times", async () => {
    const { client, error } = await run({ "auth.SendCode": [refusal("PHONE_MIGRATE_4", 303)] }, byPhone);
    expect(client.calls.filter((method) => method === "auth.SendCode")).toHaveLength(4);
    expect(error).toMatchObject({ code: "LOGIN_REFUSED" });
  });

  test("Telegram does not answer when the login is given up - ends all the same", async () => {
    const client = new ScriptedClient({
      "auth.SendCode": [SENT],
      "auth.CancelCode": [() => new Promise(() => {})],
    });
    const failure = new Error("no terminal");
    const prompts = {
      phone: () => "999",
      code: () => {
        throw failure;
      },
    };
    const signingIn = login(adapterOf(client), prompts, { clock });
    signingIn.catch(() => {});
    await settled();
    await clock.advance(3_000);
    await expect(signingIn).rejects.toBe(failure);
    expect(client.isClosed).toBe(true);
    expect(clock.pending).toBe(0);
  });
});

describe("login() - password", () => {
  const PASSWORD = "right";
  const algorithm = { salt1: randomBytes(8), salt2: randomBytes(8), g: 3, p: TELEGRAM_PRIME };
  const currentAlgo = { className: "PasswordKdfAlgoSHA256SHA256PBKDF2HMACSHA512iter100000SHA256ModPow", ...algorithm };
  const needed = refusal("SESSION_PASSWORD_NEEDED", 401);

  async function password(change: object = {}): Promise<TelegramObject> {
    const challenge = new PasswordChallenge(algorithm, await passwordVerifier(PASSWORD, algorithm));
    return { className: "account.Password", currentAlgo, srp_B: challenge.B, srpId: 7n, hint: "", ...change };
  }

  const withPassword = (asked: unknown[] = []): LoginPrompts => ({
    ...(byPhone as { phone: () => string; code: () => string }),
    password: (hint, attempt) => {
      asked.push([hint, attempt]);
      return PASSWORD;
    },
  });

  test("thought about for too long (SRP_ID_INVALID) - proven again, and not asked again", async () => {
    const asked: unknown[] = [];
    const { client, accountId } = await run(
      {
        "auth.SendCode": [SENT],
        "auth.SignIn": [needed],
        "account.GetPassword": [await password()],
        "auth.CheckPassword": [refusal("SRP_ID_INVALID"), AUTHORIZATION],
      },
      withPassword(asked),
    );
    expect(accountId).toBe("42");
    expect(asked).toEqual([[null, 1]]);
    expect(client.calls.filter((method) => method === "account.GetPassword")).toHaveLength(2);
  });

  test.each([
    ["a prime that is none", { currentAlgo: { ...currentAlgo, p: Buffer.alloc(256, 0xff) } }],
    ["a generator that does not fit", { currentAlgo: { ...currentAlgo, g: 2 } }],
    ["a number of the server's that is 0", { srp_B: Buffer.alloc(256) }],
    ["an unknown kind", { currentAlgo: { className: "PasswordKdfAlgoUnknown" } }],
  ])("%s - LOGIN_REFUSED, and no proof is sent", async (_, change) => {
    const { client, error } = await run(
      { "auth.SendCode": [SENT], "auth.SignIn": [needed], "account.GetPassword": [await password(change)] },
      withPassword(),
    );
    expect(error).toMatchObject({ code: "LOGIN_REFUSED" });
    expect(client.calls).not.toContain("auth.CheckPassword");
    expect(client.calls.at(-1)).toBe("auth.LogOut");
  });
});

describe("login() - arguments", () => {
  test("an adapter that cannot sign in - OptionsError", async () => {
    const { createSignIn: _, ...adapter } = adapterOf(new ScriptedClient({}));
    await expect(login(adapter, byPhone)).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
  });

  test("no adapter - OptionsError", async () => {
    await expect(login("gramjs" as never, byPhone)).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
  });
});
