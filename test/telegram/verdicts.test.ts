import { errors } from "telegram";
import { describe, expect, test } from "vitest";
import { VERDICT_TABLE } from "../../src/telegram/verdict-table.js";
import { classifyTelegramError } from "../../src/telegram/verdicts.js";
import { answers, brief } from "./answers.js";

const request = { className: "messages.SendMessage" };

/** The error GramJS makes of this answer. */
function gramjs(errorCode: number, errorMessage: string): unknown {
  return errors.RPCMessageToError({ errorCode, errorMessage } as never, request as never);
}

/** What teleproto 1.229 makes of it: a class of its own, a sentence as message, the code kept as it came. */
function teleproto(code: number, errorMessage: string): unknown {
  const message = "A sentence about it. (caused by messages.SendMessage)";
  return Object.assign(new Error(message), { name: "SomeTelegramError", code, errorMessage });
}

describe("classifyTelegramError() - answers", () => {
  test.each(answers)("%i %s as GramJS throws it", (code, text, expected) => {
    expect(brief(classifyTelegramError(gramjs(code, text)))).toBe(expected);
  });

  test.each(answers)("%i %s as teleproto throws it", (code, text, expected) => {
    expect(brief(classifyTelegramError(teleproto(Math.abs(code), text)))).toBe(expected);
  });

  test.each(answers)("%i %s as a message", (code, text, expected) => {
    const message = `${code}: ${text} (caused by messages.SendMessage)`;
    expect(brief(classifyTelegramError(new Error(message)))).toBe(expected);
    expect(brief(classifyTelegramError({ message: `${code}: ${text}` }))).toBe(expected);
    expect(brief(classifyTelegramError(message))).toBe(expected);
  });

  test("every row of the table has an answer above", () => {
    const untold = VERDICT_TABLE.filter((row) => !answers.some(([, text]) => row.pattern.test(text)));
    expect(untold.map((row) => row.code)).toEqual(["FLOOD_PREMIUM_WAIT_X", "MSG_WAIT_TIMEOUT"]);
  });

  test("every row names its source", () => {
    expect(VERDICT_TABLE.filter((row) => row.source === "")).toEqual([]);
  });
});

describe("classifyTelegramError() - errors that the libraries alter", () => {
  test("GramJS makes FLOOD_PREMIUM_WAIT a FloodWaitError, teleproto keeps it", () => {
    expect(brief(classifyTelegramError(gramjs(420, "FLOOD_PREMIUM_WAIT_4")))).toBe("cooldown session 4 FLOOD_WAIT");
    expect(brief(classifyTelegramError(teleproto(420, "FLOOD_PREMIUM_WAIT_4")))).toBe(
      "cooldown session 4 FLOOD_PREMIUM_WAIT",
    );
  });

  test("GramJS makes every MSG_WAIT_… one error", () => {
    expect(brief(classifyTelegramError(gramjs(-503, "MSG_WAIT_TIMEOUT")))).toBe("retry server MSG_WAIT_FAILED ?");
    expect(brief(classifyTelegramError(teleproto(503, "MSG_WAIT_TIMEOUT")))).toBe("retry server MSG_WAIT_TIMEOUT ?");
  });

  test("class names are lost to a minifier", () => {
    for (const text of ["SLOWMODE_WAIT_12", "FLOOD_TEST_PHONE_WAIT_9", "FLOOD_WAIT_33", "MSG_WAIT_FAILED"]) {
      const error = gramjs(420, text) as Error;
      const anonymous = { ...error, message: error.message };
      expect(brief(classifyTelegramError(anonymous)), text).toBe(brief(classifyTelegramError(error)));
    }
  });

  test("unused classes of GramJS have a word in place of the code", () => {
    const error = new errors.AuthKeyError("AUTH_KEY_DUPLICATED", request as never, 406);
    expect(error.errorMessage).toBe("AUTH_KEY");
    expect(brief(classifyTelegramError(error))).toBe("dead session AUTH_KEY_DUPLICATED");
  });

  test.each(["PEER_FLOOD", "AUTH_KEY_UNREGISTERED", "FROZEN_METHOD_INVALID", "SLOWMODE_WAIT_9", "RPC_CALL_FAIL"])(
    "a plain Error with only the message %s",
    (text) => {
      expect(classifyTelegramError(new Error(text))).toEqual(classifyTelegramError(text));
      expect(classifyTelegramError(new Error(text)).kind).not.toBe("none");
    },
  );

  test("the cause is lost when attempts are spent", () => {
    const expected = "retry server REQUEST_UNSUCCESSFUL ?";
    expect(brief(classifyTelegramError(new Error("Request was unsuccessful 5 time(s)")))).toBe(expected);
    expect(brief(classifyTelegramError("Request was unsuccessful 1 time(s)"))).toBe(expected);
  });

  test("the transport's own errors, which GramJS turns to positive numbers", () => {
    const transport = (code: number) => {
      const payload = Buffer.alloc(4);
      payload.writeInt32LE(-code);
      return brief(classifyTelegramError(new errors.InvalidBufferError(payload)));
    };
    expect(transport(404)).toBe("retry session TRANSPORT_404 ?");
    expect(transport(429)).toBe("retry proxy TRANSPORT_429 ?");
    expect(transport(444)).toBe("retry session TRANSPORT_444 ?");
    expect(brief(classifyTelegramError({ code: -404 }))).toBe("retry session TRANSPORT_404 ?");
    expect(brief(classifyTelegramError({ code: -429, message: "" }))).toBe("retry proxy TRANSPORT_429 ?");
    const told = new Error("Telegram does not know the auth key (transport error -404)");
    expect(brief(classifyTelegramError(told))).toBe("retry session TRANSPORT_404 ?");
    const short = new errors.InvalidBufferError(Buffer.alloc(2));
    expect(brief(classifyTelegramError(short))).toBe("retry server TRANSPORT_ERROR ?");
  });

  test("a message that the server does not accept", () => {
    const error = new errors.BadMessageError(request as never, 20);
    expect(brief(classifyTelegramError(error))).toBe("retry server BAD_MESSAGE ?");
  });
});

describe("classifyTelegramError() - seconds", () => {
  const secondsOf = (error: unknown) => classifyTelegramError(error).seconds;

  test.each([
    [0, 1],
    [-5, 1],
    [1.2, 2],
    [59, 59],
    [10 ** 12, 365 * 86_400],
    [Number.POSITIVE_INFINITY, 365 * 86_400],
  ])("%d is %d", (seconds, expected) => {
    expect(secondsOf({ name: "FloodWaitError", code: 420, errorMessage: "FLOOD", seconds })).toBe(expected);
  });

  test.each([Number.NaN, undefined, null, "soon", {}])("%o is a guess of a minute", (seconds) => {
    const error = { name: "FloodWaitError", code: 420, errorMessage: "FLOOD", seconds };
    expect(classifyTelegramError(error)).toMatchObject({ seconds: 60, isGuess: true });
  });

  test("of the text, when the number is there", () => {
    expect(secondsOf(gramjs(420, "FLOOD_WAIT_0"))).toBe(1);
    expect(secondsOf(gramjs(420, "FLOOD_WAIT_99999999999999999999999"))).toBe(365 * 86_400);
    expect(secondsOf("FLOOD_WAIT_30")).toBe(30);
    expect(secondsOf(new Error("FLOOD_WAIT_30"))).toBe(30);
    expect(secondsOf({ errorMessage: "FLOOD_WAIT_%d", code: 420, seconds: 30 })).toBe(30);
  });

  test.each(["FLOOD_WAIT_abc", "FLOOD_WAIT_", "FLOOD_WAIT"])("%s is a guess of a minute", (text) => {
    expect(classifyTelegramError(gramjs(420, text))).toMatchObject({ kind: "cooldown", seconds: 60, isGuess: true });
  });
});

describe("classifyTelegramError() - the line", () => {
  test.each([
    Object.assign(new Error("connect ECONNREFUSED 127.0.0.1:80"), { code: "ECONNREFUSED" }),
    Object.assign(new Error("read ETIMEDOUT"), { code: "ETIMEDOUT" }),
    Object.assign(new AggregateError([]), { code: "ECONNREFUSED" }),
    new (class SocksClientError extends Error {})("Socks5 Authentication failed"),
    new errors.ReadCancelledError(),
    new Error("Not connected"),
    new Error("TIMEOUT"),
    new Error("Cannot send requests while disconnected. Please reconnect."),
    new Error("Could not reconnect to dc 2"),
    new Error("Disconnected from dc 2"),
    "Maximum reconnection retries reached. Aborting!",
  ])("%s", (error) => {
    expect(classifyTelegramError(error)).toMatchObject({ kind: "retry", scope: "proxy", provesNotExecuted: false });
  });
});

describe("classifyTelegramError() - not Telegram's", () => {
  class FetchError extends Error {
    readonly code = "ECONNREFUSED";
  }

  test.each<[string, unknown]>([
    ["a bug", new TypeError("x is not a function")],
    ["a report of a flood", new Error("the job met FLOOD_WAIT_33 yesterday")],
    ["a report of a dead key", new Error("alice: 401: AUTH_KEY_UNREGISTERED")],
    ["a word of many programs", new Error("SESSION_EXPIRED")],
    ["a word of many programs", new Error("USER_RESTRICTED")],
    ["a wait without its number", new Error("FLOOD_WAIT")],
    ["a word of many programs", Object.assign(new Error("x"), { code: "SESSION_EXPIRED" })],
    ["another service's answer", { code: 401, message: "SESSION_EXPIRED" }],
    ["a longer report", new Error("401: AUTH_KEY_UNREGISTERED, so it was retired")],
    ["an HTTP client's error", new FetchError("no")],
    ["an error that wraps one", new Error("failed", { cause: gramjs(420, "FLOOD_WAIT_33") })],
    ["an abort", new DOMException("aborted", "AbortError")],
    ["a timeout signal's", new DOMException("too late", "TimeoutError")],
    ["an error with seconds", Object.assign(new Error("wait"), { seconds: 5 })],
    ["a database's", { code: 1062, errorMessage: "DUP_ENTRY" }],
    ["a sentence", { code: 500, errorMessage: "Internal server error" }],
    ["a sentence", "please wait FLOOD_WAIT_33"],
    ["nothing", undefined],
    ["nothing", null],
    ["a number", 420],
    ["a symbol", Symbol("FLOOD_WAIT_3")],
    ["an empty text", ""],
    ["an empty object", {}],
    ["a bare object", Object.create(null)],
    ["a function", () => {}],
  ])("%s", (_, error) => {
    expect(brief(classifyTelegramError(error))).toBe("none request UNKNOWN ?");
  });
});

describe("classifyTelegramError() - hostile values", () => {
  const fail = () => {
    throw new Error("no");
  };

  test("getters and traps that throw", () => {
    const traps = new Proxy({}, { get: fail, has: fail, getPrototypeOf: fail, ownKeys: fail });
    const revoked = Proxy.revocable({}, {});
    revoked.revoke();
    for (const error of [traps, revoked.proxy])
      expect(brief(classifyTelegramError(error))).toBe("none request UNKNOWN ?");
    const half = Object.defineProperty({ code: 420, errorMessage: "FLOOD_WAIT_3" }, "seconds", { get: fail });
    expect(brief(classifyTelegramError(half))).toBe("cooldown session 3 FLOOD_WAIT");
  });

  test("cyclic values, odd fields and prototypes", () => {
    const cyclic: Record<string, unknown> = { code: 420, errorMessage: "FLOOD_WAIT_3" };
    cyclic.cause = cyclic;
    cyclic.message = cyclic;
    expect(brief(classifyTelegramError(cyclic))).toBe("cooldown session 3 FLOOD_WAIT");
    for (const code of [Number.NaN, -0, 2 ** 53, "420", 420n, null, [], cyclic]) {
      expect(classifyTelegramError({ code, errorMessage: "NOT_KNOWN_AT_ALL" }).kind).toBe("none");
    }
    const inherited = Object.create(new Error("420: FLOOD_WAIT_8"));
    expect(brief(classifyTelegramError(inherited))).toBe("cooldown session 8 FLOOD_WAIT");
    for (const seconds of [-(2 ** 60), Number.MIN_VALUE, 10n ** 30n, "9", "1e3", new Number(4)]) {
      const verdict = classifyTelegramError({ name: "FloodWaitError", code: 420, errorMessage: "FLOOD", seconds });
      expect(verdict.seconds).toBeGreaterThanOrEqual(1);
      expect(verdict.seconds).toBeLessThanOrEqual(365 * 86_400);
      expect(Number.isInteger(verdict.seconds)).toBe(true);
    }
  });

  test("very long texts are cheap", () => {
    const long = "A_".repeat(100_000);
    const startedAt = performance.now();
    for (const error of [long, new Error(long), { code: 400, errorMessage: long }]) {
      expect(classifyTelegramError(error).kind).toBe("none");
    }
    expect(performance.now() - startedAt).toBeLessThan(2_000);
  });
});
