import { describe, expect, test } from "vitest";
import { Api, expectPeace, message, stage, textsOf } from "./support.js";

const SENDS = 300;
const RESOLVES = 100;

describe.each(["session", "method"] as const)("eight accounts with limits, cooldownScope %s", (cooldownScope) => {
  test("invoke() - every message exactly once, no call into a wait, one connection per key", async () => {
    const { server, open, toldOf } = await stage({ accounts: 8 });
    // So tight that also a slow machine runs into it.
    server.limit("messages.SendMessage", { calls: 20, perMs: 4_000 });
    server.limit("contacts.ResolveUsername", { calls: 10, perMs: 1_000 });
    // On a slow machine nothing runs into the limits.
    server.fail({ method: "messages.SendMessage", message: "FLOOD_WAIT_1", skip: 100, times: 1 });
    const pool = await open({ cooldownScope });
    const sends = Array.from({ length: SENDS }, (_, i) => pool.invoke(message(`m${i}`)));
    const resolves = Array.from({ length: RESOLVES }, (_, i) =>
      pool.invoke(new Api.contacts.ResolveUsername({ username: `user${i}` })),
    );
    await Promise.all([...sends, ...resolves]);
    expectPeace(server, cooldownScope);
    expect([...textsOf(server)].sort()).toEqual(Array.from({ length: SENDS }, (_, i) => `m${i}`).sort());
    expect(toldOf("cooled").length).toBeGreaterThan(0);
    expect(pool.status().waiters).toBe(0);
    expect(pool.leases()).toEqual([]);
  });

  test("use() - the same with the client's own methods", async () => {
    const { server, open } = await stage({ accounts: 8 });
    server.limit("messages.SendMessage", { calls: 20, perMs: 1_000 });
    const pool = await open({ cooldownScope });
    const jobs = Array.from({ length: 120 }, (_, i) =>
      pool.use((client) => client.sendMessage("user1", { message: `m${i}` })),
    );
    const sent = await Promise.all(jobs);
    expect(sent.every(({ id }) => id > 0)).toBe(true);
    expectPeace(server, cooldownScope);
    expect(new Set(textsOf(server)).size).toBe(120);
    expect(textsOf(server)).toHaveLength(120);
  });
});
