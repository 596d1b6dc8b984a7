import { SessionPool } from "../../../src/index.js";
import { startTestServer } from "../../../src/testing/index.js";
import { Api, Logger, libraryName, telegramAdapter } from "../../fakes/client-library.js";

/**
 * What a client library logs: calls, a flood, a death, a lost connection, a refused connect, and the end. The process
 * prints nothing itself. With "asked" as its argument the library has a logger of its own.
 */
const server = await startTestServer({ library: libraryName, accounts: 3 });
const baseLogger = process.argv[2] === "asked" ? { baseLogger: new Logger("debug" as never) } : {};
const pool = await SessionPool.open({
  client: telegramAdapter({
    apiId: 1,
    apiHash: "x",
    clientOptions: { ...server.clientOptions, ...baseLogger },
    updates: true,
  }),
  trustServers: true,
  connectTimeoutMs: 2_000,
});
for (const { name, session } of server.accounts) await pool.add(name, session);

const getMe = (id: string): Promise<unknown> =>
  pool.use((client) => client.getMe(), { id, wait: false, retry: "none" }).catch(() => {});

await getMe("account1");
await pool.use((client) => client.sendMessage("user1", { message: "hello" }), { id: "account1" });
server.disconnect("account1");
await getMe("account1");
server.fail({ account: "account1", message: "FLOOD_WAIT_30" });
await getMe("account1");
server.fail({ account: "account2", method: "help.GetConfig", message: "INTERNAL", code: 500 });
await pool.invoke(() => new Api.help.GetConfig(), { id: "account2", retry: "none" }).catch(() => {});
server.revoke("account2", { code: 401, message: "AUTH_KEY_UNREGISTERED" });
await getMe("account2");
await server.close();
await getMe("account3");
await pool.close();
