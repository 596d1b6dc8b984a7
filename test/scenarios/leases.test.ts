import { describe, expect, test } from "vitest";
import { LeaseReleasedError, NoSessionAvailableError } from "../../src/index.js";
import { CustomFile, TelegramClient } from "../fakes/client-library.js";
import { Api, callsOf, expectPeace, message, nameOf, rejection, stage, textsOf, until, within } from "./support.js";

const full = () => new Api.users.GetFullUser({ id: new Api.InputUserSelf() });

describe("a leased client", () => {
  test("is a TelegramClient for instanceof, properties and methods", async () => {
    const { server, open } = await stage();
    const pool = await open();
    await pool.use(async (client) => {
      expect(client).toBeInstanceOf(TelegramClient);
      expect(client.connected).toBe(true);
      expect(await client.isUserAuthorized()).toBe(true);
      const { sendMessage, getMe } = client;
      await sendMessage.call(undefined as never, "user1", { message: "unbound" });
      expect(await getMe.call(undefined as never)).toBeInstanceOf(Api.User);
      const sent = await client.sendMessage("channel1", { message: "first" });
      await sent.edit({ text: "edited" });
      await sent.reply({ message: "reply" });
      const texts: string[] = [];
      for await (const one of client.iterMessages("channel1", { limit: 10 })) texts.push(one.message);
      expect(texts).toEqual(["reply", "edited"]);
      expect(await client.getEntity("user5")).toBeInstanceOf(Api.User);
    });
    expect(textsOf(server)).toEqual(["unbound", "first", "reply"]);
  });

  test("a name is resolved once per account, not once per lease", async () => {
    const { server, open } = await stage();
    const pool = await open();
    for (let i = 0; i < 5; i++) await pool.use((client) => client.sendMessage("channel5", { message: `n${i}` }));
    expect(callsOf(server, "contacts.ResolveUsername")).toHaveLength(1);
  });
});

describe("a lease that ends with calls under way", () => {
  test("leasesPerSession 2 - the other lease continues, the place is handed on after the answer", async () => {
    const { server, open } = await stage();
    const pool = await open({ leasesPerSession: 2 });
    const [first, second] = await Promise.all([pool.acquire(), pool.acquire()]);
    await second.client.getMe();
    server.delay({ method: "users.GetFullUser", delayMs: 300, times: 1 });
    const flying = rejection(first.client.invoke(full()));
    await until("it is under way", () => callsOf(server, "users.GetFullUser").length === 1);
    const started = Date.now();
    first.release();
    expect(await flying).toBeInstanceOf(LeaseReleasedError);
    await second.client.getMe();
    const third = await within(2_000, pool.acquire());
    expect(Date.now() - started).toBeGreaterThan(200);
    await third.client.getMe();
    second.release();
    third.release();
    expect(server.connections()).toHaveLength(1);
  });

  test("when the connection is cut before the answer, the next holder gets a new one", async () => {
    const { server, open } = await stage();
    const pool = await open();
    const lease = await pool.acquire();
    server.mute({ method: "users.GetFullUser" });
    const flying = rejection(lease.client.invoke(full()));
    await until("it is under way", () => callsOf(server, "users.GetFullUser").length === 1);
    lease.release();
    await flying;
    server.disconnect();
    expect(await within(2_000, pool.use(nameOf))).toBe("account1");
    expect(callsOf(server, "users.GetFullUser")).toHaveLength(1);
  });

  test("when a flood is answered after the release, the session still cools", async () => {
    const { server, open, toldOf } = await stage();
    const pool = await open();
    const lease = await pool.acquire();
    const peer = await lease.client.getInputEntity("user1");
    server.delay({ method: "messages.SendMessage", delayMs: 200 });
    server.fail({ method: "messages.SendMessage", message: "FLOOD_WAIT_30", times: 1 });
    const flying = rejection(lease.client.sendMessage(peer, { message: "late" }));
    await until("it is under way", () => callsOf(server, "messages.SendMessage").length === 1);
    lease.release();
    expect(await flying).toBeInstanceOf(LeaseReleasedError);
    const error = await rejection(pool.use(nameOf, { wait: 2_000 }), 1_500);
    expect(error).toBeInstanceOf(NoSessionAvailableError);
    expect(toldOf("cooled")).toMatchObject([{ id: "account1", seconds: 30 }]);
    expectPeace(server);
  });

  test("timeoutMs - a write that was sent is not repeated, the next attempt is on another account", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    server.mute({ method: "messages.SendMessage", times: 1 });
    const error = await rejection(pool.invoke(message("once"), { timeoutMs: 250 }), 800);
    expect(error).toMatchObject({ code: "ATTEMPT_TIMEOUT" });
    expect(textsOf(server)).toEqual(["once"]);
    await until("free again", () => pool.status().free === 2);
    await pool.invoke(message("next"));
    expectPeace(server);
  });

  test("disable() and retire() - a lease beside it continues or is refused, never hangs", async () => {
    const { open } = await stage();
    const pool = await open({ leasesPerSession: 2 });
    const [first, second] = await Promise.all([pool.acquire(), pool.acquire()]);
    await pool.disable("account1");
    await within(500, second.client.getMe());
    first.retire("gone");
    expect(await rejection(second.client.getMe(), 500)).toBeInstanceOf(Error);
    expect(await rejection(first.client.getMe(), 500)).toBeInstanceOf(Error);
    first.release();
    second.release();
    expect(pool.get("account1")?.state).toBe("disabled");
    await pool.enable("account1");
    expect(await within(2_000, pool.use(nameOf))).toBe("account1");
  });
});

describe("rotation in the middle of many requests", () => {
  test("sendFile() - the upload is done, the send floods: another account uploads and sends, once", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    server.fail({ method: "messages.SendMedia", message: "FLOOD_WAIT_30", times: 1 });
    const bytes = Buffer.alloc(200_000, 1);
    const file = () => new CustomFile("file.bin", bytes.length, "", bytes);
    await pool.use((client) => client.sendFile("channel1", { file: file(), caption: "sent", forceDocument: true }));
    expect(textsOf(server)).toEqual(["sent"]);
    expectPeace(server);
  });

  test("iterMessages() - a flood on the second page: the whole read is repeated on another account", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    for (const id of ["account1", "account2"]) {
      await pool.use(
        async (client) => {
          const peer = await client.getInputEntity("channel1");
          for (let i = 0; i < 150; i++)
            await client.invoke(new Api.messages.SendMessage({ peer, message: `${id}-${i}` }));
        },
        { id },
      );
    }
    server.fail({ method: "messages.GetHistory", message: "FLOOD_WAIT_30", skip: 1, times: 1 });
    const read = await pool.use(async (client) => {
      const texts: string[] = [];
      for await (const one of client.iterMessages("channel1", { limit: 150, waitTime: 0 })) texts.push(one.message);
      return texts;
    });
    expect(read).toHaveLength(150);
    expect(new Set(read.map((text) => text.split("-")[0])).size).toBe(1);
    expectPeace(server);
  });

  test("getDialogs() and sendMessage() - when ResolveUsername floods everywhere, the error says when a session is free", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open({ cooldownScope: "method" });
    server.fail({ method: "contacts.ResolveUsername", message: "FLOOD_WAIT_20" });
    const error = await rejection<NoSessionAvailableError>(pool.invoke(message("x"), { wait: 1_000 }), 1_500);
    expect(error).toBeInstanceOf(NoSessionAvailableError);
    expect(error.nextReleaseIn).toBeGreaterThan(17);
    expect(pool.status().free).toBe(2);
    expect(await pool.use(nameOf)).toMatch(/account/);
    expect(callsOf(server, "contacts.ResolveUsername")).toHaveLength(2);
    expectPeace(server, "method");
  });
});
