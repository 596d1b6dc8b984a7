import type { LogLevel } from "telegram/extensions/Logger.js";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { NewMessage, NewMessageEvent, Raw } from "../fakes/client-library.js";
import { Api, nameOf, stage, until, within } from "./support.js";

const update = (text: string) =>
  new Api.UpdateShortMessage({
    id: 1,
    userId: 100000001n,
    message: text,
    pts: 1,
    ptsCount: 1,
    date: 1,
  } as never) as never;

describe("changes of a client under one lease", () => {
  test("setLogLevel() ends with the lease", async () => {
    const { open } = await stage();
    const pool = await open();
    const log = vi.spyOn(console, "log").mockImplementation(() => {});
    onTestFinished(() => log.mockRestore());
    await pool.use(nameOf);
    await until("the pool has asked what it asks", () => pool.get("account1")?.expiresAt !== null);
    await pool.use((client) => client.setLogLevel("debug" as LogLevel));
    await pool.use(nameOf);
    expect(log).not.toHaveBeenCalled();
  });

  test("the session object cannot be changed: the next connect uses the same address", async () => {
    const { server, open } = await stage();
    const pool = await open({ connectTimeoutMs: 500 });
    const before = await pool.exportSession("account1");
    await pool.use((client) => {
      for (const bend of [
        () => client.session.setDC(4, "127.0.0.2", 81),
        () => client.session.setAuthKey(undefined),
        () => client.session.delete(),
      ]) {
        try {
          bend();
        } catch {
          // A refusal is as good.
        }
      }
    });
    server.disconnect();
    expect(await within(3_000, pool.use(nameOf))).toBe("account1");
    expect(await pool.exportSession("account1")).toBe(before);
  });

  test("a thousand answers about one user are stored once", async () => {
    const { open } = await stage();
    const pool = await open();
    await pool.use(async (client) => {
      for (let i = 0; i < 300; i++) await client.getMe();
      const entities: unknown = Reflect.get(client.session, "_entities");
      const { size } = entities as { readonly size: number };
      expect(size).toBeLessThan(50);
    });
  });

  test("one callback with two builders: each is removed by itself", async () => {
    const { server, open } = await stage();
    const pool = await open({ client: { updates: true } });
    using lease = await pool.acquire();
    await lease.client.getMe();
    const seen: string[] = [];
    const callback = (event: unknown) => void seen.push(event instanceof NewMessageEvent ? "message" : "raw");
    const messages = new NewMessage({});
    const raw = new Raw({});
    lease.client.addEventHandler(callback, messages);
    lease.client.addEventHandler(callback, raw);
    server.push("account1", update("one"));
    await until("both were told", () => seen.includes("message"));
    lease.client.removeEventHandler(callback, messages);
    seen.length = 0;
    server.push("account1", update("two"));
    await new Promise((resolve) => setTimeout(resolve, 80));
    expect(seen).not.toContain("message");
    expect(seen).toContain("raw");
  });

  test("leasesPerSession 2 - handlers and settings of one lease do not affect the other", async () => {
    const { server, open } = await stage();
    const pool = await open({ leasesPerSession: 2, client: { updates: true } });
    const [first, second] = await Promise.all([pool.acquire(), pool.acquire()]);
    await first.client.getMe();
    const seen: string[] = [];
    const note = (who: string) => (event: InstanceType<typeof NewMessageEvent>) =>
      void seen.push(`${who} ${event.message.message}`);
    first.client.addEventHandler(note("first"), new NewMessage({}));
    second.client.addEventHandler(note("second"), new NewMessage({}));
    first.client.setParseMode("html");
    expect(second.client.parseMode).not.toBe(first.client.parseMode);
    server.push("account1", update("one"));
    await until("both were told", () => seen.length === 2);
    first.release();
    server.push("account1", update("two"));
    await until("the other was told", () => seen.length === 3);
    expect(seen).toEqual(["first one", "second one", "second two"]);
    second.release();
  });
});
