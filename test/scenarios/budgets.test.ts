import { describe, expect, test } from "vitest";
import { NoSessionAvailableError } from "../../src/index.js";
import { Api, callsOf, expectPeace, message, rejection, stage, until } from "./support.js";

const floodsOf = (calls: readonly { readonly outcome: string }[]): number =>
  calls.filter(({ outcome }) => outcome.startsWith("FLOOD_WAIT")).length;

describe("budgets", () => {
  test("a budget within Telegram's limit - no flood occurs, and the wait is known in advance", async () => {
    const { server, open } = await stage({ accounts: 2 });
    // The difference is for calls that a busy machine sends apart and receives together.
    server.limit("messages.SendMessage", { calls: 3, perMs: 1_500, shape: "window", penalty: 2 });
    const pool = await open({ budgets: { "messages.sendMessage": { calls: 3, perMs: 2_100 } } });
    // What goes with the first send, such as looking up the peer, is no part of it.
    await Promise.all(Array.from({ length: 6 }, (_, index) => pool.invoke(message(`m${index}`))));
    const error = await rejection<NoSessionAvailableError>(pool.invoke(message("late"), { wait: false }));
    expect(error).toBeInstanceOf(NoSessionAvailableError);
    expect(error.waitingCount).toBe(2);
    expect(Math.abs(Number(error.retryAt) - Date.now() - 2_000)).toBeLessThan(600);
    await Promise.all(Array.from({ length: 6 }, (_, index) => pool.invoke(message(`n${index}`))));
    const sent = callsOf(server, "messages.SendMessage");
    expect({ sent: sent.length, floods: floodsOf(sent) }).toEqual({ sent: 12, floods: 0 });
    expectPeace(server, "method");
  });

  test("calls of the library itself count: a username is resolved within its budget", async () => {
    const { server, open } = await stage();
    const pool = await open({ budgets: { "contacts.ResolveUsername": { calls: 2, perMs: 60_000 } } });
    const lookUp = (name: string): Promise<unknown> =>
      pool.use((client) => client.invoke(new Api.users.GetFullUser({ id: name })), { wait: false });
    await lookUp("user1");
    await lookUp("user2");
    expect(await rejection(lookUp("user3"))).toBeInstanceOf(NoSessionAvailableError);
    expect(callsOf(server, "contacts.ResolveUsername")).toHaveLength(2);
    await lookUp("user1");
  });

  test('"learn" - the floods of one window teach all sessions, and the next process', async () => {
    const { server, open } = await stage({ accounts: 4 });
    server.limit("users.GetUsers", { calls: 5, perMs: 3_000, shape: "window" });
    const self = () => new Api.users.GetUsers({ id: [new Api.InputUserSelf()] });
    const options = { budgets: "learn", cooldownScope: "method" } as const;
    const first = await open(options);
    await Promise.all(Array.from({ length: 40 }, () => first.invoke(self)));
    const learnt = server.calls().length;
    expect(floodsOf(server.calls())).toBeLessThanOrEqual(5);
    await first.close();
    const windowEnd = Math.max(...server.calls().map(({ at }) => at)) + 3_000;
    await until("the window has ended", () => Date.now() > windowEnd);
    const second = await open(options);
    await Promise.all(Array.from({ length: 20 }, () => second.invoke(self)));
    expect(floodsOf(server.calls().slice(learnt))).toBeLessThanOrEqual(1);
    expectPeace(server, "method");
  });
});
