import { afterAll, beforeAll, expect, test } from "vitest";
import { LeaseScope } from "../../src/connections/lease-scope.js";
import { classifyTelegramError, parseSession, systemClock } from "../../src/index.js";
import { VERDICT_TABLE } from "../../src/telegram/verdict-table.js";
import { startTestServer, type TelegramTestServer } from "../../src/testing/index.js";
import { Api, libraryName, telegramAdapter } from "../fakes/client-library.js";
import { answers, brief } from "../telegram/answers.js";

let server: TelegramTestServer;
beforeAll(async () => {
  server = await startTestServer({ accounts: 0 });
});
afterAll(() => server.close());

/** What a client of the library throws for an answer: the adapter's own, without a pool that would act upon it. */
async function thrownFor(code: number, message: string): Promise<unknown> {
  const { name, session } = server.addAccount();
  const adapter = telegramAdapter({ apiId: 1, apiHash: "x", clientOptions: server.clientOptions });
  await adapter.open();
  const handle = adapter.create({
    id: name,
    session: parseSession(session),
    profile: {},
    gate: { call: (_, __, transmit) => transmit().answer, isBlocked: () => false },
    clock: systemClock,
    peers: { limit: 100, load: async () => [], save: () => {} },
    connectTimeoutMs: 5_000,
    onDisconnect: () => {},
  });
  await handle.connect(new AbortController().signal);
  server.fail({ account: name, method: "users.GetUsers", code, message, times: 1 });
  const request = new Api.users.GetUsers({ id: [new Api.InputUserSelf()] });
  try {
    return await handle.guard(new LeaseScope(name)).invoke(request);
  } catch (error) {
    return error;
  } finally {
    await handle.close();
  }
}

/** What GramJS makes one error of, whatever Telegram said. */
const blurred: typeof answers = [
  [
    420,
    "FLOOD_PREMIUM_WAIT_4",
    `cooldown session 4 ${libraryName === "telegram" ? "FLOOD_WAIT" : "FLOOD_PREMIUM_WAIT"}`,
  ],
  [-503, "MSG_WAIT_TIMEOUT", `retry server ${libraryName === "telegram" ? "MSG_WAIT_FAILED" : "MSG_WAIT_TIMEOUT"} ?`],
  [400, "MSG_WAIT_NEW", `retry server ${libraryName === "telegram" ? "MSG_WAIT_FAILED" : "MSG_WAIT_NEW"} ?`],
];
const thrown = [...answers, ...blurred];

test("classifyTelegramError() - every row of the table is thrown by the client", () => {
  const untold = VERDICT_TABLE.filter((row) => !thrown.some(([, text]) => row.pattern.test(text)));
  expect(untold).toEqual([]);
});

test.each(thrown)("classifyTelegramError() - %i %s, answered by the test server", async (code, text, expected) => {
  const error = await thrownFor(code, text);
  expect(error).toBeInstanceOf(Error);
  expect(brief(classifyTelegramError(error))).toBe(expected);
});
