import type { TelegramClient } from "telegram";
import { describe, expect, test } from "vitest";
import { LeaseReleasedError } from "../../src/index.js";
import { StringSession } from "../fakes/client-library.js";
import { nameOf, stage, within } from "./support.js";

/** Not called: they make the object anew, or are a class. */
const MAKERS: ReadonlySet<string> = new Set(["constructor", "prototype", "init", "_init", "_finishInit", "_setClient"]);
/** How far from a lease's client one may look, and how many objects. */
const DEPTH = 5;
const MOST = 20_000;

function namesOf(holder: object): readonly string[] {
  const names = new Set<string>();
  for (let at: object | null = holder; at !== null && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    for (const name of Object.getOwnPropertyNames(at)) if (!MAKERS.has(name)) names.add(name);
  }
  return [...names];
}

function read(holder: object, name: string): unknown {
  try {
    return Reflect.get(holder, name);
  } catch {
    return undefined;
  }
}

/** What an object shows: its fields, as they are read and as they are described, and what collections hold. */
function* shownBy(holder: object): Generator<readonly [string, unknown]> {
  if (holder instanceof Uint8Array) return;
  for (const name of namesOf(holder)) {
    yield [name, read(holder, name)];
    yield [`descriptor ${name}`, Object.getOwnPropertyDescriptor(holder, name)?.value];
  }
  if (holder instanceof Map || holder instanceof Set) for (const item of holder.values()) yield ["item", item];
}

/** The ways from what a lease shows to what it must not. */
function waysTo(isHidden: (value: object) => boolean, from: Readonly<Record<string, unknown>>): readonly string[] {
  const seen = new Set<unknown>();
  const ways: string[] = [];
  const queue = Object.entries(from).map(([path, value]) => ({ path, value, depth: 0 }));
  for (const { path, value, depth } of queue) {
    if (value === null || (typeof value !== "object" && typeof value !== "function")) continue;
    if (isHidden(value)) ways.push(path);
    else if (!seen.has(value) && depth < DEPTH && queue.length < MOST) {
      seen.add(value);
      for (const [name, next] of shownBy(value)) queue.push({ path: `${path}.${name}`, value: next, depth: depth + 1 });
    }
  }
  return ways;
}

describe("objects of a lease", () => {
  test("do not lead to the client itself, or to its connection", async () => {
    const { open } = await stage();
    const raws: object[] = [];
    const pool = await open({ client: { onConnect: (client) => void raws.push(client) } });
    using lease = await pool.acquire();
    const { client } = lease;
    const sent = await client.sendMessage("user1", { message: "hello" });
    const [received] = await client.getMessages("user1", { limit: 1 });
    const shown = {
      client,
      sent,
      received,
      entity: await client.getEntity("user1"),
      iterator: client.iterMessages("user1", {}),
      sender: await client.getSender(2),
    };
    const isHidden = (value: object): boolean => raws.includes(value) || value.constructor?.name === "Sender";
    expect(raws).toHaveLength(1);
    expect(waysTo(isHidden, shown)).toEqual([]);
  });

  test("send nothing by any method after the lease", async () => {
    const { server, open } = await stage();
    const pool = await open();
    const lease = await pool.acquire();
    const { client } = lease;
    const sent = await client.sendMessage("channel1", { message: "hello" });
    const [received] = await client.getMessages("channel1", { limit: 1 });
    const iterators = [
      client.iterMessages("channel1", {}),
      client.iterDialogs({}),
      client.iterParticipants("channel1"),
    ];
    const objects = [client, sent, received, await client.getEntity("channel1"), ...iterators];
    lease.release();
    await pool.use(nameOf);
    const { length } = server.calls();
    for (const object of objects as readonly object[]) {
      for (const name of namesOf(object)) {
        const method = read(object, name);
        if (typeof method !== "function") continue;
        await within(500, Promise.resolve(tryTo(() => method.call(object, "user1", { message: "x" })))).catch(() => {});
      }
    }
    expect(server.calls().slice(length)).toEqual([]);
    expect(server.messages()).toHaveLength(1);
  });

  test("the session of its client - throws after the lease", async () => {
    const { open } = await stage();
    const pool = await open();
    const lease = await pool.acquire();
    const { session } = lease.client;
    expect(String(session.save())).toHaveLength((await pool.exportSession("account1")).length);
    expect({ dcId: session.dcId, isStringSession: session instanceof StringSession }).toEqual({
      dcId: 2,
      isStringSession: true,
    });
    lease.release();
    for (const call of [() => session.save(), () => session.setDC(1, "127.0.0.1", 80), () => session.delete()]) {
      expect(call).toThrow(LeaseReleasedError);
    }
    expect(await pool.use(nameOf)).toBe("account1");
  });

  test("fields defined or deleted under a lease are not visible to the next", async () => {
    const { open } = await stage();
    const pool = await open();
    await pool.use(async (client) => {
      const own = (): string => "mine";
      Object.defineProperty(client, "ownMark", { value: own, configurable: true });
      expect(Reflect.get(client, "ownMark")).toBe(own);
      expect(Reflect.deleteProperty(client, "ownMark")).toBe(true);
      expect(Reflect.get(client, "ownMark")).toBeUndefined();
      Object.defineProperty(client, "ownMark", { value: own, configurable: true });
      Reflect.deleteProperty(client, "apiId");
      expect(Reflect.defineProperty(client, "apiId", { get: () => 0 })).toBe(false);
    });
    await pool.use((client: TelegramClient) => {
      expect(Reflect.get(client, "ownMark")).toBeUndefined();
      expect(client.apiId).toBeGreaterThan(0);
    });
    const lease = await pool.acquire();
    lease.release();
    expect(() => Object.defineProperty(lease.client, "late", { value: 1 })).toThrow(LeaseReleasedError);
    expect(() => Reflect.deleteProperty(lease.client, "late")).toThrow(LeaseReleasedError);
  });
});

function tryTo(call: () => unknown): unknown {
  try {
    return call();
  } catch {
    return undefined;
  }
}
