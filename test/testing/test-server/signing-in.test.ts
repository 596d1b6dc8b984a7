import { constants, createHash, publicEncrypt, randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, describe, expect, onTestFinished, test } from "vitest";
import { rsaFingerprint, rsaNumbers } from "../../../src/telegram/rsa-key.js";
import { startTestServer, type TelegramTestServer, type TestServerOptions } from "../../../src/testing/index.js";
import { encryptIge } from "../../../src/testing/test-server/crypto.js";
import { KeyExchange, serverKeyPair } from "../../../src/testing/test-server/key-exchange.js";
import { readBytes, writeBytes } from "../../../src/testing/test-server/messages.js";

type Library = "telegram" | "teleproto";

const PHONE = "+99 966 123";
const PASSWORD = "correct horse";

/** A client of the library itself, which has no auth key yet, and knows the server's RSA key. */
async function newClient(library: Library, server: TelegramTestServer) {
  const root = (await import(library)) as unknown as typeof import("telegram");
  const sessions: typeof import("telegram/sessions/index.js") = await import(`${library}/sessions/index.js`);
  const logging: typeof import("telegram/extensions/Logger.js") = await import(`${library}/extensions/Logger.js`);
  const rsa: typeof import("telegram/crypto/RSA.js") = await import(`${library}/crypto/RSA.js`);
  const { publicKey } = server.server;
  const modulus = BigInt(`0x${rsaNumbers(publicKey).modulus.toString("hex")}`);
  rsa._serverKeys.set(String(rsaFingerprint(publicKey)), { n: root.helpers.returnBigInt(modulus), e: 65_537 });
  const client = new root.TelegramClient(new sessions.StringSession(""), 1, "x", {
    ...server.clientOptions,
    baseLogger: new logging.Logger("none" as never),
    // One key in 256 begins with a zero: GramJS cannot cope with it, and makes another.
    connectionRetries: 5,
  });
  onTestFinished(() => client.destroy());
  return { client, Api: root.Api };
}

let server: TelegramTestServer;
afterEach(() => server.close());

async function start(options: TestServerOptions): Promise<void> {
  server = await startTestServer(options);
}

describe.each(["telegram", "teleproto"] as const)("%s's own way to sign in", (library) => {
  test("phone, code and password - a second key of the account, with the hint shown", async () => {
    await start({ library, accounts: [{ name: "alice", phone: PHONE, password: PASSWORD, passwordHint: "a horse" }] });
    const { client, Api } = await newClient(library, server);
    await client.connect();
    const hints: unknown[] = [];
    await client.signInUser(
      { apiId: 1, apiHash: "x" },
      {
        phoneNumber: PHONE,
        phoneCode: async () => server.sentCodes(PHONE).at(-1)?.code ?? "",
        password: async (hint) => {
          hints.push(hint);
          return PASSWORD;
        },
        onError: async () => true,
      },
    );
    expect(hints).toEqual(["a horse"]);
    expect(server.authorizationCount("alice")).toBe(2);
    const { authorizations } = await client.invoke(new Api.account.GetAuthorizations());
    expect(authorizations.filter(({ current }) => current)).toHaveLength(1);
    await client.invoke(new Api.auth.LogOut());
    expect(server.authorizationCount("alice")).toBe(1);
    expect(server.maxConnectionsPerKey()).toBe(1);
  });

  test("a key without a login - is refused the calls of an account", async () => {
    await start({ library });
    const { client, Api } = await newClient(library, server);
    await client.connect();
    const refused = client.invoke(new Api.users.GetUsers({ id: [new Api.InputUserSelf()] }));
    await expect(refused).rejects.toMatchObject({ code: 401 });
    expect(server.calls().at(-1)).toMatchObject({
      account: expect.stringMatching(/^guest\d+$/),
      outcome: "AUTH_KEY_UNREGISTERED",
    });
  });
});

describe("a key exchange", () => {
  test("what does not keep to the protocol - the server hangs up", async () => {
    await start({});
    const socket = connect(server.port, server.host);
    await once(socket, "connect");
    const closed = once(socket, "close");
    const body = Buffer.alloc(60);
    body.writeUInt32LE(0xd712e4be, 20);
    body.writeInt32LE(40, 16);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(body.length, 0);
    socket.write(Buffer.concat([Buffer.of(0xee, 0xee, 0xee, 0xee), length, body]));
    await closed;
  });

  test("receive() - data encrypted for the server is read", () => {
    const exchange = new KeyExchange();
    const nonce = randomBytes(16);
    const offer = exchange.receive(Buffer.concat([int(0xbe7e8ef1), nonce]))?.answer ?? Buffer.alloc(0);
    const serverNonce = offer.subarray(20, 36);
    const pq = readBytes(offer, 36);
    const fingerprint = offer.subarray(-8);
    expect(fingerprint.readBigInt64LE(0)).toBe(rsaFingerprint(serverKeyPair().pem));
    const newNonce = randomBytes(32);
    const inner = Buffer.concat([int(0x83c95aec), ...[pq, pq, pq].map(writeBytes), nonce, serverNonce, newNonce]);
    const answer = exchange.receive(
      Buffer.concat([
        int(0xd712e4be),
        nonce,
        serverNonce,
        writeBytes(pq),
        writeBytes(pq),
        fingerprint,
        writeBytes(rsaPad(inner)),
      ]),
    )?.answer;
    expect(answer?.readUInt32LE(0)).toBe(0xd0e8075c);
  });
});

function int(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value, 0);
  return bytes;
}

/** RSA_PAD: core.telegram.org/mtproto/auth_key#41-rsa-paddata-server-public-key-mentioned-above-is-implemented-as-follows. */
function rsaPad(data: Buffer): Buffer {
  const padded = Buffer.concat([data, randomBytes(192 - data.length)]);
  for (;;) {
    const key = randomBytes(32);
    const hash = createHash("sha256").update(key).update(padded).digest();
    const encrypted = encryptIge(Buffer.concat([Buffer.from(padded).reverse(), hash]), key, Buffer.alloc(32));
    const mask = createHash("sha256").update(encrypted).digest();
    const whole = Buffer.concat([Buffer.from(key.map((byte, i) => byte ^ (mask[i] ?? 0))), encrypted]);
    if (whole.compare(rsaNumbers(serverKeyPair().pem).modulus) >= 0) continue;
    return publicEncrypt({ key: serverKeyPair().publicKey, padding: constants.RSA_NO_PADDING }, whole);
  }
}
