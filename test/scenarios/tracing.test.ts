import { expect, test } from "vitest";
import { recordSpans, type Span, treeOf } from "../fakes/trace-recorder.js";
import { bigInt, CHUNK, exportAuthorizations, listFarDataCenter, location } from "./files.js";
import { Api, callsOf, stage } from "./support.js";

const SEND = "messages.SendMessage";

/** Without what the pool asks beside the callers. */
const ofCallers = (spans: readonly Span[]): readonly Span[] =>
  spans.filter(({ message }) => message.method !== "account.GetAuthorizations");

test("tracing channels - a flood and a death over the client library: spans nest, calls are what the server got", async () => {
  const { server, open } = await stage({ accounts: 3 });
  const pool = await open();
  server.fail({ account: "account1", method: SEND, message: "FLOOD_WAIT_30" });
  server.revoke("account2", { code: 401, message: "AUTH_KEY_UNREGISTERED" });
  const spans = recordSpans();
  const peer = new Api.InputPeerSelf();
  await pool.use((client) => client.invoke(new Api.messages.SendMessage({ peer, message: "secret text" })));
  expect(treeOf(ofCallers(spans))).toEqual([
    "use account3 ok",
    "  acquire account1 #1 ok",
    "    connect account1 ok",
    `  call account1 ${SEND} #1 FLOOD_WAIT`,
    "  acquire account2 #2 ok",
    "    connect account2 ok",
    `  call account2 ${SEND} #2 AUTH_KEY_UNREGISTERED`,
    "  acquire account3 #3 ok",
    "    connect account3 ok",
    `  call account3 ${SEND} #3 ok`,
  ]);
  const calls = ofCallers(spans)
    .filter(({ name }) => name === "call")
    .map(({ message }) => message.sessionId);
  expect(calls).toEqual(callsOf(server, SEND).map(({ account }) => account));
  expect(JSON.stringify(spans.map(({ message }) => message))).not.toMatch(/secret text|InputPeer/);
});

test("tracing channels - a file of another data center: the leave to log in there is asked for within the download", async () => {
  const { server, open } = await stage();
  exportAuthorizations(server);
  listFarDataCenter(server);
  server.fail({ method: "auth.ExportAuthorization", message: "DC_ID_INVALID", code: 400 });
  const pool = await open();
  const spans = recordSpans();
  const download = pool.use((client) =>
    client.downloadFile(location(), { fileSize: bigInt(CHUNK), partSizeKb: CHUNK / 1024, dcId: 4 }),
  );
  await expect(download).rejects.toMatchObject({ errorMessage: "DC_ID_INVALID" });
  expect(treeOf(ofCallers(spans))).toEqual([
    "use account1 DC_ID_INVALID",
    "  acquire account1 #1 ok",
    "    connect account1 ok",
    "  call account1 auth.ExportAuthorization DC_ID_INVALID",
  ]);
});

test("tracing channels - connects that fail: they are attempts, and every span has its caller's at the root", async () => {
  const { server, open } = await stage({ accounts: 2 });
  const pool = await open();
  const spans = recordSpans();
  server.failTransport({ code: -404, on: "connect" });
  await expect(pool.use(() => undefined)).rejects.toMatchObject({ code: "CONNECT_FAILED" });
  expect(treeOf(spans)).toEqual([
    "use CONNECT_FAILED",
    "  acquire #1 CONNECT_FAILED",
    "    connect account1 CONNECT_FAILED",
    "    connect account2 CONNECT_FAILED",
  ]);
  expect(spans[0]?.message).toMatchObject({ attempts: 2 });
});
