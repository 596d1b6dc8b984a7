import { beforeAll, describe, expect, test } from "vitest";
import { type ClientClasses, createClient, createClientClasses } from "../../../../adapters/client/mtproto/client.js";
import type {
  LibraryClient,
  RequestState,
  SenderOptions,
  TlRequest,
} from "../../../../adapters/client/mtproto/library.js";
import { PooledSender } from "../../../../adapters/client/mtproto/sender.js";
import {
  ConnectionLostError,
  HeldBackError,
  type OutgoingRequest,
  UnreadableAnswerError,
} from "../../../../src/connections/client-adapter.js";
import { openPacket } from "../../../../src/testing/test-server/crypto.js";
import { Api, loadUnderTest } from "../../../fakes/client-library.js";
import { peerMemory } from "../../../fakes/peer-memory.js";
import { sessionString } from "../../../fakes/sessions.js";

const OUTGOING: OutgoingRequest = {
  method: "help.GetConfig",
  peer: undefined,
  hasRandomId: false,
  isOrdered: false,
  isHomeDc: true,
};

let kit: ClientClasses;
let client: LibraryClient;
beforeAll(async () => {
  kit = createClientClasses(await loadUnderTest());
  const settings = { apiId: 1, apiHash: "hash", clientOptions: {}, profile: {}, session: sessionString("a") };
  client = createClient(
    kit,
    { ...settings, peers: peerMemory() },
    { invoke: never, senderFor: never, leaseSender: never, mainLeaseSender: never },
  );
});

function never(): never {
  throw new Error("asked for");
}

/** A sender that believes to be connected, on a connection that never says anything. */
async function connectedSender(isBlocked: (outgoing: OutgoingRequest) => boolean = () => false) {
  const lost: string[] = [];
  const options: SenderOptions = {
    logger: Reflect.get(client, "_log"),
    dcId: 2,
    retries: 1,
    reconnectRetries: 0,
    delay: 0,
    autoReconnect: false,
    connectTimeout: undefined,
    authKeyCallback: undefined,
    isMainSender: true,
    client,
    securityChecks: false,
    _exportedSenderPromises: new Map(),
  };
  const gate = { call: never, isBlocked };
  const session = client.session as { load(): Promise<void>; getAuthKey(): unknown };
  await session.load();
  const owner = { gate, isHomeDc: true, receivesUpdates: true, lost: (reason: string) => void lost.push(reason) };
  const sender = new PooledSender(kit, session.getAuthKey(), options, owner);
  const sent: Buffer[] = [];
  const connection = {
    isConnected: () => true,
    connect: async () => {},
    disconnect: async () => {},
    send: (data: Buffer): Promise<void> => connection._send(data),
    _send: async (data: Buffer): Promise<void> => void sent.push(data),
    recv: () => new Promise<never>(() => {}),
    socket: { close: async () => {} },
    toString: () => "silence",
  };
  sender.watch(connection);
  await sender.base.connect(connection, false);
  kit.library.differences.onConnected(sender.base);
  return { sender, sent, lost, connection };
}

const request = (): TlRequest => new Api.help.GetConfig() as unknown as TlRequest;
const turns = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
};

describe("transmit()", () => {
  test("held back at the last moment - is not sent, and says so", async () => {
    const { sender, sent } = await connectedSender(() => true);
    await expect(sender.transmit(request(), OUTGOING).answer).rejects.toBeInstanceOf(HeldBackError);
    await turns();
    expect(sent).toEqual([]);
    sender.disconnectWith("over");
  });

  test("put back by the library after a bad salt, held back since - is not sent again", async () => {
    let isCooling = false;
    const { sender, sent } = await connectedSender(() => isCooling);
    const { answer } = sender.transmit(request(), OUTGOING);
    await turns();
    expect(sent).toHaveLength(1);
    isCooling = true;
    const [state] = sender.base._pendingState.values();
    const { queue } = kit.library.differences;
    sender.base._pendingState.clear();
    queue(sender.base).push(state as RequestState);
    // Something of the connection's own wakes the writer up.
    sender.transmitService(new Api.Ping({ pingId: 1n } as never) as unknown as TlRequest).catch(() => {});
    await expect(answer).rejects.toBeInstanceOf(HeldBackError);
    sender.disconnectWith("over");
  });

  test("abandoned - is neither queued nor waited for", async () => {
    const { sender } = await connectedSender();
    const { answer, abandon } = sender.transmit(request(), OUTGOING);
    abandon();
    await expect(answer).rejects.toBeInstanceOf(ConnectionLostError);
    expect({
      queued: kit.library.differences.queue(sender.base).filter(Boolean),
      pending: sender.base._pendingState.values(),
    }).toEqual({ queued: [], pending: [] });
    sender.disconnectWith("over");
  });
});

describe("a refusal that is read between packing and writing", () => {
  /** A refusal becomes known as soon as the packet's bytes are made. */
  async function refusedWhilePacking(isBlocked: (method: string) => boolean) {
    let isKnown = false;
    const made = await connectedSender((outgoing) => isKnown && isBlocked(outgoing.method));
    const { _state: state } = made.sender.base;
    const encrypt = state.encryptMessageData.bind(state);
    state.encryptMessageData = (data) => {
      isKnown = true;
      return encrypt(data);
    };
    const opened = (): Buffer[] => {
      const key = made.sender.base.authKey.getKey() ?? Buffer.alloc(0);
      return made.sent.map((packet) => openPacket(packet, key) ?? expect.fail("cannot be opened"));
    };
    return { ...made, opened };
  }

  test("alone in its packet - nothing is written, and it says so", async () => {
    const { sender, sent } = await refusedWhilePacking(() => true);
    await expect(sender.transmit(request(), OUTGOING).answer).rejects.toBeInstanceOf(HeldBackError);
    await turns();
    expect({ sent, pending: sender.base._pendingState.values() }).toEqual({ sent: [], pending: [] });
    sender.disconnectWith("over");
  });

  test("when other requests are packed with it - they are sent without it", async () => {
    const { sender, opened } = await refusedWhilePacking((method) => method === "held");
    const held = sender.transmit(request(), { ...OUTGOING, method: "held" }).answer;
    const others = [1n, 2n].map((pingId) => sender.transmitService(new Api.Ping({ pingId } as never) as never));
    await expect(held).rejects.toBeInstanceOf(HeldBackError);
    await turns();
    const bodies = opened().map((plain) => plain.subarray(32, 32 + plain.readInt32LE(28)));
    expect(bodies.map((body) => [body.readUInt32LE(0), body.readInt32LE(4), body.length])).toEqual([
      [0x73f1f8dc, 2, 8 + 2 * (16 + 12)],
    ]);
    expect(sender.base._pendingState.values()).toHaveLength(2);
    sender.disconnectWith("over");
    for (const other of others) await expect(other).rejects.toMatchObject({ wasSent: true });
  });
});

describe("disconnectWith()", () => {
  test("queued, sent and service requests - all settle; nothing is sent afterwards", async () => {
    const { sender, sent, lost } = await connectedSender();
    const onItsWay = sender.transmit(request(), OUTGOING).answer;
    await turns();
    const service = sender.transmitService(request());
    const queued = sender.transmit(request(), OUTGOING).answer;
    sender.disconnectWith("pulled");
    for (const answer of [onItsWay, queued, service]) {
      await expect(answer).rejects.toMatchObject({ name: "ConnectionLostError", message: "pulled" });
    }
    const before = sent.length;
    await expect(sender.transmit(request(), OUTGOING).answer).rejects.toBeInstanceOf(ConnectionLostError);
    await turns();
    expect({ sent: sent.length, lost, isLost: sender.isLost }).toEqual({
      sent: before,
      lost: ["pulled"],
      isLost: true,
    });
  });

  test("requests sent and not sent - the errors tell them apart", async () => {
    const { sender } = await connectedSender();
    const { answer } = sender.transmit(request(), OUTGOING);
    await turns();
    sender.disconnectWith("pulled");
    await expect(answer).rejects.toMatchObject({ wasSent: true });
    await expect(sender.transmit(request(), OUTGOING).answer).rejects.toMatchObject({ wasSent: false });
  });
});

describe("answers", () => {
  const answerTo = (sender: PooledSender, obj: object): unknown => {
    const { handlers } = kit.library.differences;
    return handlers(sender.base)[String(kit.library.RPCResult.CONSTRUCTOR_ID)]?.({ obj } as never);
  };
  const rpcError = () => new Api.RpcError({ errorCode: 420, errorMessage: "FLOOD_WAIT_7" } as never);

  test("an error without a pending request - does not end the container it came in", async () => {
    const { sender } = await connectedSender();
    expect(() => answerTo(sender, { reqMsgId: kit.library.helpers.returnBigInt(5n), error: rpcError() })).not.toThrow();
    sender.disconnectWith("over");
  });

  test("an error - rejects its request alone", async () => {
    const { sender } = await connectedSender();
    const { answer } = sender.transmit(request(), OUTGOING);
    await turns();
    const [state] = sender.base._pendingState.values();
    expect(() => answerTo(sender, { reqMsgId: state?.msgId, error: rpcError() })).not.toThrow();
    await expect(answer).rejects.toMatchObject({ seconds: 7, code: 420 });
    sender.disconnectWith("over");
  });

  test.each([
    ["of a newer layer", { body: Buffer.from("efbeadde", "hex") }],
    ["cut short", { body: Buffer.from("b575", "hex") }],
    ["that could not be unpacked", { body: undefined, unreadable: new Error("incorrect header check") }],
  ])("a result %s - UnreadableAnswerError", async (_, answer) => {
    const { sender } = await connectedSender();
    const transmission = sender.transmit(request(), OUTGOING);
    await turns();
    const [state] = sender.base._pendingState.values();
    answerTo(sender, { reqMsgId: state?.msgId, ...answer });
    await expect(transmission.answer).rejects.toBeInstanceOf(UnreadableAnswerError);
    expect(sender.base._pendingState.values()).toEqual([]);
    sender.disconnectWith("over");
  });

  test("a result - is read for its request", async () => {
    const { sender } = await connectedSender();
    const ask = new Api.account.UpdateStatus({ offline: true }) as unknown as TlRequest;
    const { answer } = sender.transmit(ask, OUTGOING);
    await turns();
    const [state] = sender.base._pendingState.values();
    answerTo(sender, { reqMsgId: state?.msgId, body: Buffer.from("b5757299", "hex") });
    expect(await answer).toBe(true);
    sender.disconnectWith("over");
  });
});

describe("watch()", () => {
  test.each([-404, -429])("transport error %s - is in the reason of the loss", async (code) => {
    const { sender, connection, lost } = await connectedSender();
    const packet = Buffer.alloc(4);
    packet.writeInt32LE(code);
    connection.recv = (async () => packet) as never;
    sender.watch(connection);
    await connection.recv();
    sender.base.reconnect();
    expect(lost).toEqual([`Telegram closed the connection (transport error ${code})`]);
  });
});

test("the first request after the set-up - is not wrapped into a second initConnection", async () => {
  const { sender } = await connectedSender();
  sender.transmit(request(), OUTGOING).answer.catch(() => {});
  await turns();
  const [state] = sender.base._pendingState.values();
  expect(state?.request).toMatchObject({ className: "help.GetConfig" });
  sender.disconnectWith("over");
});
