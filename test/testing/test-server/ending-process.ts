import { startTestServer } from "../../../src/testing/index.js";
import { SERVICE } from "../../../src/testing/test-server/messages.js";
import { RawClient, request } from "./raw-client.js";

const server = await startTestServer();
const raw = await RawClient.connect(server, server.accounts[0]);
const ping = request(SERVICE.pingDelayDisconnect, 12);
ping.writeInt32LE(600, 12);
raw.send(ping);
await raw.receive();
raw[Symbol.dispose]();
await raw.closed;
await server.close();
process.send?.(process.getActiveResourcesInfo(), () => process.disconnect());
