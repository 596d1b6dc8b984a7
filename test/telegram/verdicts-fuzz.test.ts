import fc from "fast-check";
import { errors as gramjs } from "telegram";
import { errors as teleproto } from "teleproto";
import { expect, test } from "vitest";
import { VERDICT_TABLE } from "../../src/telegram/verdict-table.js";
import { classifyTelegramError, type Verdict } from "../../src/telegram/verdicts.js";

const KINDS = ["cooldown", "restricted", "dead", "retry", "none"];
const SCOPES = ["session", "method", "peer", "request", "proxy", "server"];
/** The only words of Telegram that end a session. Source: core.telegram.org/api/errors (401 and 406). */
const DEATHS = [
  "AUTH_KEY_UNREGISTERED",
  "AUTH_KEY_INVALID",
  "AUTH_KEY_DUPLICATED",
  "SESSION_REVOKED",
  "SESSION_EXPIRED",
  "USER_DEACTIVATED",
  "USER_DEACTIVATED_BAN",
];

const rowText = fc
  .constantFrom(...VERDICT_TABLE.map(({ code }) => code))
  .chain((code) =>
    fc
      .oneof(fc.nat().map(String), fc.constantFrom("", "abc", "-5", "1e9", "1790000000", "9".repeat(30), "%d"))
      .map((slot) => code.replace("X", slot).replace("*", `NEW_${slot}`)),
  );
const text = fc.oneof(
  rowText,
  rowText,
  fc.string({ maxLength: 40 }),
  fc.constantFrom("No workers running", "FLOOD", "Timeout"),
);
const number = fc
  .oneof(
    fc.constantFrom(303, 400, 401, 403, 404, 406, 420, 429, 444, 500, 503, 0, 1),
    fc.integer({ min: -700, max: 700 }),
  )
  .chain((code) => fc.constantFrom(code, -code));
const method = fc.constantFrom(
  "users.GetUsers",
  "messages.SendMessage",
  "auth.SendCode",
  "auth.SignIn",
  "account.ChangePhone",
);

function expectSound(verdict: Verdict): void {
  expect(KINDS).toContain(verdict.kind);
  expect(SCOPES).toContain(verdict.scope);
  expect(verdict.code.length).toBeGreaterThan(0);
  if (verdict.kind === "cooldown") {
    expect(Number.isInteger(verdict.seconds)).toBe(true);
    expect(verdict.seconds).toBeGreaterThanOrEqual(1);
    expect(verdict.seconds).toBeLessThanOrEqual(365 * 86_400);
  } else expect(verdict.seconds).toBeNull();
  if (verdict.kind === "dead") expect(DEATHS).toContain(verdict.code);
}

test("classifyTelegramError() - whatever the libraries make of an answer: sound, and dead by Telegram's seven words alone", () => {
  fc.assert(
    fc.property(number, text, method, fc.boolean(), (errorCode, errorMessage, className, isGramjs) => {
      const answer = { errorCode, errorMessage } as never;
      const request = { className } as never;
      const error: unknown = isGramjs
        ? gramjs.RPCMessageToError(answer, request)
        : teleproto.RPCMessageToError(answer, request);
      for (const verdict of [classifyTelegramError(error), classifyTelegramError(error, { method: className })]) {
        expectSound(verdict);
        if (verdict.kind !== "dead") continue;
        expect(errorMessage).toBe(verdict.code);
        // teleproto puts the number of its own list in the place of the one that came.
        if (isGramjs) expect([401, 406]).toContain(Math.abs(errorCode));
        if (className.startsWith("auth.")) expect(verdict.code).not.toMatch(/^USER_/);
      }
    }),
    { numRuns: 3_000 },
  );
});

test("classifyTelegramError() - a transport error, which is not authenticated, is never a death", () => {
  const code = fc.oneof(fc.constantFrom(404, 429, 444, 403, 500, 1), fc.integer({ min: 1, max: 2 ** 31 - 1 }));
  fc.assert(
    fc.property(code, fc.boolean(), (value, isGramjs) => {
      const payload = Buffer.alloc(4);
      payload.writeInt32LE(-value);
      const { InvalidBufferError } = isGramjs ? gramjs : teleproto;
      const told = new Error(`Telegram does not know the auth key (transport error -${value})`);
      for (const error of [new InvalidBufferError(payload), told, { code: -404, message: "" }, `${told.message}`]) {
        const { kind, provesNotExecuted } = classifyTelegramError(error);
        expect(["retry", "none"]).toContain(kind);
        expect(provesNotExecuted).toBe(false);
      }
    }),
  );
});

test("classifyTelegramError() - any value with any fields: never throws, always sound", () => {
  const field = fc.oneof(text, number, fc.anything({ maxDepth: 1 }));
  const shape = fc.record(
    { name: field, message: field, code: field, errorCode: field, errorMessage: field, seconds: field },
    { requiredKeys: [] },
  );
  const anyError = fc.oneof(shape, fc.anything({ maxDepth: 2, withBigInt: true, withNullPrototype: true }), text);
  fc.assert(
    fc.property(anyError, fc.option(method, { nil: undefined }), (error, of) => {
      expectSound(classifyTelegramError(error, { method: of }));
    }),
    { numRuns: 3_000 },
  );
});
