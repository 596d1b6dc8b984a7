import { describe, expect, test } from "vitest";
import { ConnectError, OutcomeUnknownError } from "../../src/index.js";
import { testServerClientOptions } from "../../src/testing/index.js";
import { libraryName, NewMessage } from "../fakes/client-library.js";
import { type Relay, startRelay } from "../fakes/relay.js";
import {
  Api,
  callsOf,
  message,
  nameOf,
  type OpenOptions,
  type Pool,
  rejection,
  type Stage,
  stage,
  until,
  within,
} from "./support.js";

/** A pool whose connections go over a relay. */
async function overRelay(options: OpenOptions = {}): Promise<Stage & { readonly relay: Relay; readonly pool: Pool }> {
  const scene = await stage();
  const relay = await startRelay(scene.server.port);
  const { networkSocket } = await testServerClientOptions({
    host: "127.0.0.1",
    port: relay.port,
    library: libraryName,
  });
  const pool = await scene.open({ ...options, client: { ...options.client, clientOptions: { networkSocket } } });
  return { ...scene, relay, pool };
}

describe("a frame of a length that cannot be", () => {
  const frameOf = (length: number): Buffer => {
    const frame = Buffer.alloc(12, 0xaa);
    frame.writeInt32LE(length, 0);
    return frame;
  };

  test.each([0, 4, 7, 9, 11, 2 ** 30, 2 ** 31 - 1, -1])(
    "%d, on a working connection - the connection ends, the next one serves",
    async (length) => {
      const { pool, relay } = await overRelay();
      await pool.use(nameOf);
      relay.lines.at(-1)?.write(frameOf(length));
      await until("the line is given up", () => relay.lines.length === 0);
      expect(await within(3_000, pool.use(nameOf))).toBe("account1");
    },
  );

  test("before the first answer - ConnectError", async () => {
    const { pool, relay, server } = await overRelay({ connectTimeoutMs: 3_000 });
    // Else a quick client has its answers before the frame is written.
    server.ignore();
    const using = rejection(pool.use(nameOf, { wait: false }));
    await until("a client connects", () => relay.lines.length > 0);
    relay.lines[0]?.write(frameOf(4));
    expect(await using).toBeInstanceOf(ConnectError);
  });
});

test("a repeated packet of an update, on its connection and on the next one - the handler is called once", async () => {
  const heard: string[] = [];
  const { pool, relay, server } = await overRelay({
    client: {
      updates: true,
      onConnect: (client) =>
        client.addEventHandler((event) => void heard.push(event.message.message), new NewMessage({})),
    },
  });
  const push = (text: string, pts: number): void =>
    server.push(
      "account1",
      new Api.UpdateShortMessage({
        id: pts,
        userId: 100000001n,
        message: text,
        pts,
        ptsCount: 1,
        date: 1,
      } as never) as never,
    );
  await pool.use(nameOf);
  relay.record();
  push("one", 1);
  await until("it came", () => heard.length === 1);
  const packet = relay.recorded();
  relay.lines.at(-1)?.write(packet);
  push("two", 2);
  await until("the next one came", () => heard.length === 2);
  relay.lines.at(-1)?.destroy();
  await pool.use(nameOf);
  relay.lines.at(-1)?.write(packet);
  push("three", 3);
  await until("the next one came", () => heard.includes("three"));
  expect(heard).toEqual(["one", "two", "three"]);
});

describe("an answer that cannot be read", () => {
  const answers: [string, Buffer][] = [
    ["of a newer layer", Buffer.from("efbeaddeefbeadde", "hex")],
    ["cut short", Buffer.from("9d7cb574", "hex")],
    ["that is packed, and cannot be unpacked", Buffer.from("a1cf72300401020300000000", "hex")],
  ];

  test.each(answers)("%s, of a write - OutcomeUnknownError, sent once", async (_, answer) => {
    const { open, server } = await stage({ accounts: 2 });
    server.handle("messages.SendMessage", () => answer as never);
    const pool = await open();
    const error = await rejection<OutcomeUnknownError>(pool.invoke(message("once")), 3_000);
    expect(error).toBeInstanceOf(OutcomeUnknownError);
    expect({ executed: error.executed, calls: callsOf(server, "messages.SendMessage").length }).toEqual({
      executed: "unknown",
      calls: 1,
    });
    expect(await pool.use(nameOf)).toMatch(/account/);
  });

  test.each(answers)("%s, of a read - the library's own error, the session stays usable", async (_, answer) => {
    const { open, server } = await stage();
    server.handle("help.GetNearestDc", () => answer as never);
    const pool = await open();
    const error = await rejection(pool.invoke(new Api.help.GetNearestDc()), 3_000);
    expect(error).not.toBeInstanceOf(OutcomeUnknownError);
    expect(pool.get("account1")?.state).toBe("free");
  });
});
