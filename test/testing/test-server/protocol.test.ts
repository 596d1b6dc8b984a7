import { gzipSync } from "node:zlib";
import { Api } from "telegram";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startTestServer, type TelegramTestServer, type TestServerOptions } from "../../../src/testing/index.js";
import { SERVICE, writeBytes } from "../../../src/testing/test-server/messages.js";
import { RawClient, request } from "./raw-client.js";

let server: TelegramTestServer;
let raw: RawClient;

async function start(options: TestServerOptions = {}): Promise<void> {
  server = await startTestServer(options);
  raw = await RawClient.connect(server, server.accounts[0]);
}

beforeEach(() => start());

afterEach(async () => {
  raw[Symbol.dispose]();
  await server.close();
});

const self = (): Buffer => new Api.users.GetUsers({ id: [new Api.InputUserSelf()] }).getBytes();
const kinds = (messages: readonly { readonly body: Buffer }[]): readonly number[] =>
  messages.map(({ body }) => body.readUInt32LE(0));

describe("a packet", () => {
  test("with salt 0 - gets the right one, and is not processed", async () => {
    using fresh = await RawClient.connect(server, server.accounts[0], false);
    const [id] = fresh.send(self());
    const [answer] = (await fresh.receive()).messages;
    expect(answer?.body.readUInt32LE(0)).toBe(SERVICE.badServerSalt);
    expect(answer?.body.readBigInt64LE(4)).toBe(id);
    expect(server.calls()).toEqual([]);
  });

  test("first of its session - is answered with new_session_created before the result", async () => {
    raw.send(self());
    expect(kinds((await raw.receive()).messages)).toEqual([SERVICE.newSessionCreated, SERVICE.rpcResult]);
    raw.send(self());
    expect(kinds((await raw.receive()).messages)).toEqual([SERVICE.rpcResult]);
  });

  test("after changeSalt() - gets the new one", async () => {
    await raw.call(self());
    server.changeSalt("account1");
    raw.send(self());
    expect(kinds((await raw.receive()).messages)).toEqual([SERVICE.badServerSalt]);
  });

  test("of an unknown key - gets -404", async () => {
    await using other = await startTestServer();
    using stranger = await RawClient.connect(server, other.accounts[0], false);
    stranger.send(self());
    expect((await stranger.receive()).transportError).toBe(-404);
  });

  test("that is not encrypted right - is hung up on", async () => {
    raw.sendGarbled(self());
    await raw.closed;
    expect(server.calls()).toEqual([]);
  });
});

describe("a container", () => {
  test("of error, ok, ok - is answered with one container", async () => {
    await raw.call(self());
    server.fail({ method: "users.getUsers", message: "PEER_FLOOD", times: 1 });
    raw.send(self(), self(), self());
    const { messages } = await raw.receive();
    expect(kinds(messages)).toEqual([SERVICE.rpcResult, SERVICE.rpcResult, SERVICE.rpcResult]);
    expect(server.calls().map(({ outcome }) => outcome)).toEqual(["ok", "PEER_FLOOD", "ok", "ok"]);
    expect(new Set(server.calls().map(({ packet }) => packet)).size).toBe(2);
  });

  test("with sendsSingly - is answered with a packet each", async () => {
    raw[Symbol.dispose]();
    await server.close();
    await start({ sendsSingly: true });
    await raw.call(self());
    raw.send(self(), self());
    expect((await raw.receive()).messages).toHaveLength(1);
    expect((await raw.receive()).messages).toHaveLength(1);
  });
});

describe("a message", () => {
  test("gzip_packed - is unpacked", async () => {
    const packed = Buffer.concat([request(SERVICE.gzipPacked), writeBytes(gzipSync(self()))]);
    expect((await raw.call(packed)).error).toBeUndefined();
    expect(server.calls().map(({ method }) => method)).toEqual(["users.GetUsers"]);
  });

  test("get_future_salts - returns the current salt", async () => {
    await raw.call(self());
    raw.send(request(SERVICE.getFutureSalts, 4));
    const [answer] = (await raw.receive()).messages;
    expect(answer?.body.readUInt32LE(0)).toBe(SERVICE.futureSalts);
    expect(answer?.body.readBigInt64LE(28)).toBe(raw.salt);
  });

  test("ping_delay_disconnect - is answered, and the connection ends when no other comes", async () => {
    const ping = request(SERVICE.pingDelayDisconnect, 12);
    ping.writeInt32LE(1, 12);
    const sentAt = Date.now();
    raw.send(ping);
    expect(kinds((await raw.receive()).messages)).toContain(SERVICE.pong);
    await raw.closed;
    expect(Date.now() - sentAt).toBeGreaterThanOrEqual(990);
  });

  test("msgs_state_req, destroy_session, rpc_drop_answer - are answered", async () => {
    await raw.call(self());
    const about = Buffer.concat([request(SERVICE.stateRequest), request(SERVICE.vector, 4 + 8)]);
    about.writeUInt32LE(1, 8);
    const [stateRequest] = raw.send(about);
    const [state] = (await raw.receive()).messages;
    expect(state?.body.readBigInt64LE(4)).toBe(stateRequest);
    expect(state?.body.subarray(12, 14)).toEqual(Buffer.of(1, 4));
    raw.send(request(SERVICE.destroySession, 8), request(SERVICE.dropAnswer, 8), request(SERVICE.httpWait, 12));
    expect(kinds((await raw.receive()).messages)).toEqual([SERVICE.destroySessionOk, SERVICE.rpcResult]);
  });

  test("invokeWithoutUpdates, invokeAfterMsgs, invokeWithTakeout around a call - are taken off", async () => {
    const afterMessages = Buffer.concat([request(0x3dc4b4f0), request(SERVICE.vector, 4 + 8)]);
    afterMessages.writeUInt32LE(1, 8);
    const takeout = request(0xaca9fd2e, 8);
    expect(
      (await raw.call(Buffer.concat([request(0xbf9459b7), afterMessages, takeout, self()]))).error,
    ).toBeUndefined();
    expect(server.calls().map(({ method, outcome }) => [method, outcome])).toEqual([["users.GetUsers", "ok"]]);
  });

  test("of an unknown method - gets METHOD_INVALID", async () => {
    expect((await raw.call(new Api.help.GetNearestDc().getBytes())).error).toBe("METHOD_INVALID");
  });

  test("of a method no layer has - gets INPUT_METHOD_INVALID", async () => {
    expect((await raw.call(request(0x12345678))).error).toBe(`INPUT_METHOD_INVALID_${0x12345678}_0`);
  });
});

describe("invokeAfterMsg()", () => {
  const chained = (id: bigint | undefined): Buffer => {
    const wrapper = request(0xcb9f372d, 8);
    wrapper.writeBigInt64LE(id ?? 0n, 4);
    return Buffer.concat([wrapper, self()]);
  };

  test("after a failed call - gets MSG_WAIT_FAILED, and so do the calls after it", async () => {
    server.fail({ method: "users.GetUsers", message: "FLOOD_WAIT_5", times: 1 });
    const [first] = raw.send(self());
    expect((await raw.answerTo(first)).error).toBe("FLOOD_WAIT_5");
    const [second] = raw.send(chained(first));
    expect((await raw.answerTo(second)).error).toBe("MSG_WAIT_FAILED");
    expect((await raw.call(chained(second))).error).toBe("MSG_WAIT_FAILED");
  });

  test("after a call that is still at work - waits for it", async () => {
    const done: string[] = [];
    let finish: () => void = () => undefined;
    server.handle("help.getNearestDc", async () => {
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      done.push("first");
      return true;
    });
    server.handle("users.getUsers", () => {
      done.push("second");
      return true;
    });
    const [first] = raw.send(new Api.help.GetNearestDc().getBytes());
    const [second] = raw.send(chained(first));
    raw.send(request(SERVICE.ping, 8));
    const pinged = async (): Promise<void> => {
      while (!kinds((await raw.receive()).messages).includes(SERVICE.pong));
    };
    await pinged();
    expect(done).toEqual([]);
    finish();
    await raw.answerTo(second);
    expect(done).toEqual(["first", "second"]);
  });
});
