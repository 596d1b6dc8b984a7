import type { TelegramClient } from "teleproto";
import { NewMessage, type NewMessageEvent } from "teleproto/events/index.js";
import { describe, expect, test } from "vitest";
import { type Lease, LeaseReleasedError } from "../../../../src/index.js";
import { RpcError } from "../../../../src/testing/index.js";
import { Api } from "../../../fakes/client-library.js";
import { callsOf, rejection, type Stage, stage, until } from "../../../scenarios/support.js";

const update = (text: string, id = 1) =>
  new Api.UpdateShortMessage({
    id,
    userId: 100000001n,
    message: text,
    pts: id,
    ptsCount: 1,
    date: 1,
  } as never) as never;

/** A lease by the types of teleproto. */
async function leaseOn(open: Stage["open"]): Promise<Lease<TelegramClient>> {
  const pool = await open({ client: { updates: true } });
  return (await pool.acquire()) as unknown as Lease<TelegramClient>;
}

describe("client.api", () => {
  test("passes the request gate, and ends with the lease", async () => {
    const { server, open } = await stage();
    const lease = await leaseOn(open);
    const { api } = lease.client;
    const [me] = await api.users.getUsers({ id: [new Api.InputUserSelf() as never] });
    expect(me).toMatchObject({ username: "account1" });
    lease.coolDown(30);
    expect(await rejection(api.help.getConfig(), 1_000)).toMatchObject({ seconds: 30, errorMessage: "FLOOD_WAIT_30" });
    lease.release();
    expect(await rejection(api.help.getConfig())).toBeInstanceOf(LeaseReleasedError);
    expect(callsOf(server, "help.GetConfig")).toEqual([]);
  });

  test("one that was asked for outside of a lease - is not the lease's", async () => {
    let raw: TelegramClient | undefined;
    const { open } = await stage();
    const onConnect = (client: unknown): void => {
      raw = client as TelegramClient;
      void raw.api;
    };
    const pool = await open({ client: { onConnect } });
    const lease = (await pool.acquire()) as unknown as Lease<TelegramClient>;
    await lease.client.api.help.getConfig();
    const { api } = lease.client;
    lease.release();
    expect(await rejection(api.help.getConfig())).toBeInstanceOf(LeaseReleasedError);
    expect(await raw?.api.help.getConfig()).toMatchObject({ thisDc: 2 });
  });
});

describe("client.updates", () => {
  test("gives the handlers of a lease the guarded client, and removes them after it", async () => {
    const { server, open } = await stage();
    const lease = await leaseOn(open);
    await lease.client.getMe();
    const seen: string[] = [];
    const holders: unknown[] = [];
    lease.client.updates.on("newMessage", (received, next) => {
      seen.push((received.message as { message: string }).message);
      return next();
    });
    lease.client.updates.on(new NewMessage({}), (event: NewMessageEvent) => {
      holders.push(event.client);
    });
    server.push("account1", update("one"));
    await until("it came", () => seen.length === 1 && holders.length === 1);
    expect(holders).toEqual([lease.client]);
    const { updates } = lease.client;
    lease.release();
    server.push("account1", update("two", 2));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(seen).toEqual(["one"]);
    expect(() => updates.use(() => {})).toThrow(LeaseReleasedError);
    expect(await rejection(updates.catchUp())).toBeInstanceOf(LeaseReleasedError);
  });

  test("lasting handlers of onConnect - stay, beside those of leases", async () => {
    const { server, open } = await stage();
    const seen: string[] = [];
    const onConnect = (client: unknown): void => {
      (client as TelegramClient).updates.use(async (_, next) => {
        seen.push("lasting");
        await next();
      });
    };
    const pool = await open({ client: { onConnect, updates: true } });
    const lease = (await pool.acquire()) as unknown as Lease<TelegramClient>;
    await lease.client.getMe();
    lease.client.updates.use(() => void seen.push("lease"));
    seen.length = 0;
    server.push("account1", update("one"));
    await until("both came", () => seen.length === 2);
    lease.release();
    server.push("account1", update("two", 2));
    await until("one came", () => seen.length === 3);
    expect(seen).toEqual(["lasting", "lease", "lasting"]);
  });

  test("watch() - ends with the lease and sends nothing after it", async () => {
    const { server, open } = await stage();
    server.handle("channels.GetFullChannel", () => {
      throw new RpcError(400, "CHANNEL_PRIVATE");
    });
    const lease = await leaseOn(open);
    const errors: unknown[] = [];
    lease.client.updates.catch((error) => void errors.push(error));
    lease.client.updates.watch("channel1", () => {});
    await until("it asked", () => callsOf(server, "channels.GetFullChannel").length > 0);
    lease.release();
    expect(
      (lease.client as unknown as { updateManager: { watchedChannelIds(): unknown } }).updateManager,
    ).toBeDefined();
    const { length } = callsOf(server, "channels.GetFullChannel");
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(callsOf(server, "channels.GetFullChannel")).toHaveLength(length);
  });
});

describe("the state of updates", () => {
  test("is not requested without catchUp(), and the client's own sends make no gap", async () => {
    const { server, open } = await stage();
    const lease = await leaseOn(open);
    await lease.client.getMe();
    expect(callsOf(server, "updates.GetState")).toEqual([]);
    await lease.client.catchUp();
    expect(callsOf(server, "updates.GetState")).toHaveLength(1);
    const sent = [];
    for (const text of ["a", "b", "c"]) sent.push(await lease.client.sendMessage("user1", { message: text }));
    const seen: unknown[] = [];
    lease.client.updates.use((received) => void seen.push(received));
    // Each took one step; the next one is somebody else's.
    server.push("account1", update("next", sent.length + 2));
    await until("it came", () => seen.length === 1);
    // A gap starts a timer, and its end asks for the difference.
    const { updateManager } = lease.client as unknown as { updateManager: { readonly globalPtsTimer?: unknown } };
    expect(updateManager.globalPtsTimer).toBeUndefined();
    server.push("account1", update("after a gap", sent.length + 12));
    await until("the gap is noticed", () => updateManager.globalPtsTimer !== undefined);
    expect(callsOf(server, "updates.GetDifference")).toEqual([]);
    lease.release();
    expect(await rejection(lease.client.catchUp())).toBeInstanceOf(LeaseReleasedError);
  });
});

describe("client.entityCache", () => {
  test("lists the peers that the session knows, and deletes them", async () => {
    const { server, open } = await stage();
    const lease = await leaseOn(open);
    const { entityCache } = lease.client;
    await lease.client.getInputEntity("user1");
    const asked = callsOf(server, "contacts.ResolveUsername").length;
    const [user] = (await lease.client.getEntity(["user1"])) as unknown as { id: never }[];
    expect({ isFilled: entityCache.size > 0, hasUser: entityCache.has(user?.id as never) }).toEqual({
      isFilled: true,
      hasUser: true,
    });
    expect({ isDeleted: entityCache.delete(user?.id as never), hasUser: entityCache.has(user?.id as never) }).toEqual({
      isDeleted: true,
      hasUser: false,
    });
    await lease.client.getInputEntity("user1");
    expect(callsOf(server, "contacts.ResolveUsername").length).toBeGreaterThan(asked);
    entityCache.clear();
    expect(entityCache.size).toBe(0);
    lease.release();
  });
});

test("_leaseSender() - lends the account's one connection, and to leases a view of it", async () => {
  let raw: TelegramClient | undefined;
  const { server, open } = await stage();
  const onConnect = (client: unknown): void => {
    raw = client as TelegramClient;
  };
  const pool = await open({ client: { onConnect } });
  const lease = await pool.acquire();
  await lease.client.getMe();
  type Lender = { _leaseSender(dcId: number): Promise<{ sender: { send(of: unknown): Promise<unknown> } }> };
  for (const client of [raw, lease.client] as unknown as Lender[]) {
    const { sender } = await client._leaseSender(2);
    expect(await sender.send(new Api.help.GetConfig())).toMatchObject({ thisDc: 2 });
  }
  expect(server.connections()).toHaveLength(1);
  lease.release();
});
