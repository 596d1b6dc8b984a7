import { describe, expect, test } from "vitest";
import { resolveOptions } from "../../src/create-pool.js";
import { OptionsError } from "../../src/errors.js";
import { presets } from "../../src/options/presets.js";
import {
  checkAcquireOptions,
  checkAddArguments,
  checkChange,
  checkCloseOptions,
  checkMapArguments,
  checkUseArguments,
} from "../../src/options/validate.js";
import { SessionPool } from "../../src/session-pool.js";
import { FakeTelegram } from "../fakes/fake-telegram.js";
import { openPool } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { VirtualClock } from "../fakes/virtual-clock.js";

const clock = new VirtualClock();
const client = new FakeTelegram(clock);
const open = (options: object) => () => resolveOptions({ client, ...options } as Parameters<typeof resolveOptions>[0]);

describe("SessionPool.open - options", () => {
  test("fills in every default", () => {
    const { client: _, storage, clock: time, ...rest } = resolveOptions({ client });
    expect(rest).toEqual({
      cooldownScope: "session",
      floodsBelongTo: "account",
      selection: "spread",
      leasesPerSession: 1,
      inlineWaitMs: 0,
      maxConnected: Number.POSITIVE_INFINITY,
      maxWaiters: Number.POSITIVE_INFINITY,
      idleTimeoutMs: 300_000,
      connectTimeoutMs: 15_000,
      callTimeoutMs: 60_000,
      maxLeaseMs: Number.POSITIVE_INFINITY,
      closeTimeoutMs: 10_000,
      storageTimeoutMs: 5_000,
      restrictedForMs: 86_400_000,
      probeIntervalMs: Number.POSITIVE_INFINITY,
      keepConnected: true,
      ownership: { ttlMs: 60_000, host: undefined },
      traceLeases: false,
      trustServers: false,
      logger: undefined,
      onProgress: undefined,
      encryption: undefined,
    });
    expect({ isShared: storage.shared, nowType: typeof time.now }).toEqual({ isShared: false, nowType: "function" });
  });

  test("undefined is the default, anything given is kept", () => {
    expect(resolveOptions({ client, maxWaiters: undefined, callTimeoutMs: 5, clock })).toMatchObject({
      maxWaiters: Number.POSITIVE_INFINITY,
      callTimeoutMs: 5,
    });
  });

  test.each([
    ["client", undefined],
    ["client", {}],
    ["storage", { list() {}, read() {}, write() {} }],
    ["cooldownScope", "peer"],
    ...["lru", 1, null, {}, { random: "seed" }, { random: NaN }, { weight: 1 }, { rank() {} }].map((value) => [
      "selection",
      value,
    ]),
    ["selection", { random: 1, weight: () => 1 }],
    ["selection", { rank() {}, leased() {}, weight: () => 1 }],
    ...["leasesPerSession", "maxConnected"].flatMap((key) => [0, 1.5, -1, NaN, "1"].map((value) => [key, value])),
    ...["maxWaiters"].flatMap((key) => [0.5, -1, NaN, "1"].map((value) => [key, value])),
    ...["inlineWaitMs", "idleTimeoutMs", "closeTimeoutMs", "restrictedForMs"].flatMap((key) =>
      [-1, NaN, "1", null].map((value) => [key, value]),
    ),
    ...["connectTimeoutMs", "callTimeoutMs", "storageTimeoutMs"].flatMap((key) =>
      [0, -1, NaN, Number.POSITIVE_INFINITY, "1"].map((value) => [key, value]),
    ),
    ["maxLeaseMs", 0],
    ["traceLeases", 1],
    ["budgets", "learnt"],
    ["budgets", [{ calls: 1, perMs: 1 }]],
    ["trustServers", "yes"],
    ["logger", { warn() {} }],
    ["onProgress", true],
    ["clock", { now() {} }],
  ] as [string, unknown][])("%s: %s is an OptionsError that names it", (key, value) => {
    expect(open({ [key]: value })).toThrow(OptionsError);
    expect(open({ [key]: value })).toThrow(key);
  });

  test.each(["maxLease", "storag", "constructor", "toString", "hasOwnProperty", "__proto__"])(
    "an unknown option is named: %s",
    (key) => {
      const options = JSON.parse(`{ "${key}": 1 }`) as object;
      expect(() => checkCloseOptions(options)).toThrow(OptionsError);
      expect(() => checkCloseOptions(options)).toThrow(`"${key}"`);
    },
  );

  test.each([
    ["apiId", "gramjs({ apiId, apiHash })"],
    ["sessions", "pool.add(id, session)"],
  ])("the option %s, which belongs elsewhere - says where", (key, place) => {
    expect(open({ [key]: 1 })).toThrow(`unknown option "${key}". `);
    expect(open({ [key]: 1 })).toThrow(place);
  });

  test.each([
    ["storages", "storage"],
    ["maxWaitrs", "maxWaiters"],
    ["connectTimeout", "connectTimeoutMs"],
    ["IDLETIMEOUTMS", "idleTimeoutMs"],
    ["traceLaeses", "traceLeases"],
  ])("an unknown option %s - suggests %s", (key, meant) => {
    expect(open({ [key]: 1 })).toThrow(`unknown option "${key}". Did you mean "${meant}"? Known options: client, `);
  });

  test.each(["proxy", "x", "constructor", "a".repeat(5_000)])(
    "an unknown option unlike any other - suggests nothing",
    (key) => {
      expect(open({ [key]: 1 })).toThrow(`unknown option "${key}". Known options: `);
    },
  );

  test("new SessionPool() - the error says how a pool is opened", () => {
    const Pool = SessionPool as unknown as new (options: object) => unknown;
    expect(() => new Pool({ client })).toThrow(OptionsError);
    expect(() => new Pool({ client })).toThrow("SessionPool.open(options)");
  });

  test("a path as storage - the error names sqlite()", () => {
    expect(open({ storage: "sessions.db" })).toThrow('sqlite("sessions.db")');
  });

  test.each([null, 5, "text", [], undefined])("%s - is no object of options", (options) => {
    expect(() => resolveOptions(options as never)).toThrow(OptionsError);
  });
});

describe("SessionPool.open - budgets", () => {
  const right = { calls: 2, perMs: 1_000 };

  test("both spellings of a method are one; perPeer is a limit of its own", () => {
    const { budgets } = resolveOptions({
      client,
      budgets: {
        "messages.sendMessage": right,
        "contacts.ResolveUsername": { ...right, perPeer: true },
        "messages.SendMedia": { ...right, perPeer: { calls: 1, perMs: 5 } },
      },
    });
    expect(budgets).toEqual(
      new Map([
        ["messages.SendMessage", { perSession: right, perPeer: undefined }],
        ["contacts.ResolveUsername", { perSession: undefined, perPeer: right }],
        ["messages.SendMedia", { perSession: right, perPeer: { calls: 1, perMs: 5 } }],
      ]),
    );
  });

  test("durable - is kept for the limit of a session, up to 30 days", () => {
    const days = { calls: 5, perMs: 30 * 86_400_000, durable: true };
    const { budgets } = resolveOptions({
      client,
      budgets: {
        "messages.SendMessage": { ...days, perPeer: { ...right, durable: false } },
        "messages.SendMedia": { ...right, durable: false, perPeer: true },
        "users.GetUsers": { calls: 5, perMs: 31 * 86_400_000 },
      },
    });
    expect(budgets).toEqual(
      new Map([
        ["messages.SendMessage", { perSession: days, perPeer: right }],
        ["messages.SendMedia", { perSession: undefined, perPeer: right }],
        ["users.GetUsers", { perSession: { calls: 5, perMs: 31 * 86_400_000 }, perPeer: undefined }],
      ]),
    );
  });

  test.each([
    [
      { calls: 1, perMs: 2_592_000_001, durable: true },
      "perMs of a durable limit must be at most 2592000000 (30 days)",
    ],
    [{ ...right, durable: true, perPeer: true }, "a limit for each peer cannot be durable"],
    [{ ...right, perPeer: { ...right, durable: true } }, "a limit for each peer cannot be durable"],
    [{ ...right, durable: "yes" }, "durable must be true or false; got a string of 3 characters"],
    [{ ...right, durable: null }, "durable must be true or false; got null"],
  ])("%j - is refused: %s", (budget, message) => {
    expect(open({ budgets: { "messages.SendMessage": budget } })).toThrow(OptionsError);
    expect(open({ budgets: { "messages.SendMessage": budget } })).toThrow(message);
  });

  test('"learn", the presets and none pass', () => {
    expect(resolveOptions({ client, budgets: "learn" }).budgets).toBe("learn");
    expect(resolveOptions({ client, budgets: {} }).budgets).toBeUndefined();
    expect(resolveOptions({ client, budgets: presets.conservative }).budgets).toHaveProperty("size", 8);
  });

  test("a custom rule passes, an incomplete one does not", () => {
    const sent = (): void => {};
    const rule = { waitMs: () => 0, sent };
    expect(resolveOptions({ client, budgets: rule }).budgets).toBe(rule);
    class Half {
      waitMs = undefined;
      sent(): void {}
    }
    const wrong = [{ sent }, { ...rule, refused: 5 }, new Half(), new Date()];
    for (const budgets of wrong) expect(() => resolveOptions({ client, budgets } as never)).toThrow(/budgets/);
  });

  test.each([
    [{ calls: 0, perMs: 1 }],
    [{ calls: 1.5, perMs: 1 }],
    [{ calls: Number.POSITIVE_INFINITY, perMs: 1 }],
    [{ calls: 1, perMs: 0 }],
    [{ calls: 1, perMs: Number.POSITIVE_INFINITY }],
    [{ calls: 1 }],
    [{ perMs: 1 }],
    [{ ...right, per: 1 }],
    [{ ...right, perPeer: 1 }],
    [{ ...right, perPeer: { calls: 1 } }],
    [5],
    [null],
  ])("%j - is refused, naming the method", (budget) => {
    expect(open({ budgets: { "messages.SendMessage": budget } })).toThrow(OptionsError);
    expect(open({ budgets: { "messages.SendMessage": budget } })).toThrow("messages.SendMessage");
  });

  test("one method in two spellings is refused", () => {
    expect(open({ budgets: { "messages.SendMessage": right, "messages.sendMessage": right } })).toThrow("twice");
  });
});

describe("acquire and use - options", () => {
  test.each([
    ["id", ""],
    ["id", 5],
    ["key", ""],
    ["tags", "x"],
    ["tags", [""]],
    ["tags", [5]],
    ["method", ""],
    ["peer", "5"],
    ["peer", "user:-5"],
    ["wait", "1"],
    ["wait", NaN],
    ["wait", -1],
    ["priority", NaN],
    ["priority", Number.POSITIVE_INFINITY],
    ["priority", "1"],
    ["signal", {}],
    ["ids", "a"],
  ] as [string, unknown][])("acquire: %s: %s", (key, value) => {
    expect(() => checkAcquireOptions({ [key]: value })).toThrow(OptionsError);
    expect(() => checkUseArguments("use", () => {}, { [key]: value })).toThrow(key);
  });

  test.each([
    ["retry", "all"],
    ["maxAttempts", 0],
    ["maxAttempts", 1.5],
    ["timeoutMs", 0],
    ["timeoutMs", NaN],
  ] as [string, unknown][])("use: %s: %s", (key, value) => {
    expect(() => checkUseArguments("use", () => {}, { [key]: value })).toThrow(OptionsError);
    expect(() => checkAcquireOptions({ [key]: value })).toThrow("unknown option");
  });

  test("valid options pass", () => {
    const acquire = {
      id: "a",
      key: "k",
      tags: ["x"],
      method: "messages.sendMessage",
      peer: "channel:5",
      wait: 0,
      priority: -1.5,
    };
    checkAcquireOptions({ ...acquire, signal: new AbortController().signal });
    checkAcquireOptions({ id: undefined, wait: Number.POSITIVE_INFINITY, peer: "user:self" });
    checkUseArguments("use", () => {}, {
      ...acquire,
      wait: true,
      retry: "any",
      maxAttempts: Number.POSITIVE_INFINITY,
      timeoutMs: 5,
    });
  });
});

describe("add and update - options", () => {
  const proxy = { ip: "1.2.3.4", port: 1080, socksType: 5 } as const;

  test("a whole profile passes", () => {
    const profile = {
      apiId: 5,
      apiHash: "h",
      proxy: { ...proxy, username: "u", password: "p", timeout: 5 },
      deviceModel: "D",
      systemVersion: "S",
      appVersion: "A",
      langCode: "en",
      systemLangCode: "en",
    };
    checkAddArguments("a", { tags: ["x"], profile });
    checkChange({ profile: { proxy: { ip: "1.2.3.4", port: 1, secret: "dd".repeat(16) } }, tags: [], session: "text" });
  });

  test.each([
    [{ apiId: 0 }],
    [{ apiId: "5" }],
    [{ apiHash: "" }],
    [{ device: "D" }],
    [{ proxy: "socks5://x" }],
    [{ proxy: {} }],
    [{ proxy: { ...proxy, port: 0 } }],
    [{ proxy: { ...proxy, port: 65_536 } }],
    [{ proxy: { ...proxy, socksType: 3 } }],
    [{ proxy: { ip: "1.2.3.4", port: 1 } }],
    [{ proxy: { ...proxy, timeout: 0 } }],
    [null],
    ["text"],
  ])("profile %j is refused", (profile) => {
    expect(() => checkAddArguments("a", { profile: profile as object })).toThrow(OptionsError);
    expect(() => checkChange({ profile: profile as object })).toThrow(OptionsError);
  });

  test.each(["1.2.3.4", "2001:67c:4e8:f002::a", "proxy.example.org", "gate_1.provider.io", "localhost"])(
    "a proxy at %s passes",
    (ip) => {
      checkAddArguments("a", { profile: { proxy: { ...proxy, ip } } });
    },
  );

  test.each([
    "socks5://user:s3cret@1.2.3.4",
    "1.2.3.4:1080:user:s3cret",
    "user:s3cret@1.2.3.4",
    "1.2.3.4:1080",
    "[::1]",
    "proxy.example.org/s3cret",
    " 1.2.3.4",
    "1.2.3.4\n",
    "",
    "a".repeat(100_000),
    5,
  ])("a proxy at %j is refused, and not repeated", (ip) => {
    const add = () => checkAddArguments("a", { profile: { proxy: { ...proxy, ip: ip as string } } });
    expect(add).toThrow(OptionsError);
    expect(add).toThrow(/ip must be an address or a host name/);
    expect(add).not.toThrow("s3cret");
  });

  const bytes = (count: number, first: number): Buffer => Buffer.alloc(count, first);
  test.each([
    ["hexadecimal", bytes(16, 0xab).toString("hex")],
    ["padded", bytes(17, 0xdd).toString("hex")],
    ["fake TLS, base64url", Buffer.concat([bytes(17, 0xee), Buffer.from("example.org")]).toString("base64url")],
    ["base64", bytes(16, 0xfb).toString("base64")],
  ])("an MTProto secret in %s passes", (_, secret) => {
    checkAddArguments("a", { profile: { proxy: { ip: "1.2.3.4", port: 443, secret } } });
  });

  test.each(["s", "abcdef", bytes(17, 0xab).toString("hex"), bytes(15, 0xab).toString("hex"), `${"ab".repeat(16)} `])(
    "an MTProto secret like %j is refused, and not repeated",
    (secret) => {
      const add = () => checkAddArguments("a", { profile: { proxy: { ip: "1.2.3.4", port: 443, secret } } });
      expect(add).toThrow(/secret must be the secret of an MTProto proxy/);
      if (secret.length > 2) expect(add).not.toThrow(secret);
    },
  );

  test("an id that is a session string is refused, and not repeated", () => {
    const session = sessionString();
    const swapped = () => checkAddArguments(session, {});
    expect(swapped).toThrow(OptionsError);
    expect(swapped).not.toThrow(session);
    expect(swapped).toThrow("swapped");
  });

  test("no message repeats a value that may be a secret", () => {
    const secret = "hunter2hunter2";
    for (const profile of [{ apiId: secret }, { proxy: { ...proxy, socksType: secret } }, { proxy: secret }, secret]) {
      try {
        checkAddArguments("a", { profile: profile as object });
        expect.unreachable();
      } catch (error) {
        expect(String((error as Error).stack)).not.toContain(secret);
      }
    }
  });
});

test("close - timeoutMs", () => {
  for (const timeoutMs of [-1, NaN, "1"])
    expect(() => checkCloseOptions({ timeoutMs: timeoutMs as number })).toThrow(OptionsError);
  for (const timeoutMs of [0, 5, Number.POSITIVE_INFINITY, undefined]) checkCloseOptions({ timeoutMs });
});

describe("arguments that were swapped", () => {
  test.each([
    ["use", () => checkUseArguments("use", "alice", (() => {}) as never), "use(work, { id })"],
    ["iterate", () => checkUseArguments("iterate", {}, (() => {}) as never), "iterate(work, options)"],
    ["invoke", () => checkUseArguments("invoke", {}, { className: "X" } as never), "invoke(request, options)"],
    ["map", () => checkMapArguments(() => 1, [1], {}), "map(items, work, options)"],
    ["acquire", () => checkAcquireOptions("alice" as never), "acquire({ id })"],
  ])("%s - the message shows the right order", (_, call, expected) => {
    expect(call).toThrow(OptionsError);
    expect(call).toThrow(expected);
  });

  test.each([
    ["x", "a string of 1 character."],
    [{}, "an object."],
    [() => {}, "a function."],
  ])("a value of the wrong type - is described by it: %o", (value, described) => {
    expect(() => checkCloseOptions({ timeoutMs: value } as never)).toThrow(`; got ${described}`);
  });

  test("an unknown option - is reported under the name of the call", () => {
    expect(() => checkUseArguments("invoke", {}, { nope: 1 } as never)).toThrow('invoke: unknown option "nope"');
    expect(() => checkUseArguments("iterate", () => {}, { nope: 1 } as never)).toThrow("iterate: unknown option");
  });
});

describe("names of requests", () => {
  test.each(["messages/SendMessage", "messages.SendMessage ", "messages.", "send message", "a.b.c", "5"])(
    "%j - is refused by budgets, and by acquire()",
    async (name) => {
      await expect(openPool({ budgets: { [name]: { calls: 1, perMs: 1 } } })).rejects.toThrow(OptionsError);
      const { pool } = await openPool();
      await expect(pool.acquire({ method: name })).rejects.toThrow(/method must be the name of a request/);
    },
  );
});

test("invoke() - given the class of a request, says that it is one", async () => {
  const { pool } = await openPool({ sessions: ["a"] });
  const GetConfig = Object.assign(class {}, { className: "help.GetConfig" });
  await expect(pool.invoke(GetConfig as never)).rejects.toThrow("pass new Api.help.GetConfig({ … }), or a function");
});
