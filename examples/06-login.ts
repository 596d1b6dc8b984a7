/** Signing in by code and by QR code, and a second session of an account. Runs on its own: npx tsx examples/06-… */
import { SessionPool } from "telegram-session-pool";
import { gramjs } from "telegram-session-pool/gramjs";
import { LoginError, login } from "telegram-session-pool/login";
import { startTestServer } from "telegram-session-pool/testing";

const PHONE = "+99 966 12345";
const alice = { name: "alice", phone: PHONE, password: "secret", passwordHint: "it is one" };
await using server = await startTestServer({ accounts: [alice] });
// With Telegram itself: gramjs({ apiId, apiHash }).
const client = gramjs({ apiId: 1, apiHash: "example", server: server.server });
const password = (hint: string | null): string => {
  console.log(`  asked for the password (hint: ${hint})`);
  return "secret";
};

console.log("A phone number and the code that was sent:");
const byCode = await login(client, {
  phone: () => PHONE,
  code: ({ via, length }) => {
    console.log(`  asked for the ${length} digits (${via})`);
    return server.sentCodes(PHONE).at(-1)?.code ?? ""; // a person reads it in Telegram
  },
  password,
});
console.log("  signed in with the code:", byCode); // shows no session string

console.log("A QR code:");
const byQrCode = await login(client, {
  qr: (url) => {
    console.log(`  shown: ${url.slice(0, 24)}…`);
    server.acceptLogin("alice", url); // a person scans it
  },
  password,
});
console.log("  signed in with the QR code:", byQrCode);

console.log("A second session of an account in the pool:");
await using pool = await SessionPool.open({ client, trustServers: true }); // the sessions name 127.0.0.1
await pool.add("alice", byCode.session);
await pool.duplicate("alice", "alice-laptop", { password });
const me = await pool.use((leased) => leased.getMe(), { id: "alice-laptop" });
console.log(`  alice-laptop is user ${me.id}`);

console.log("Telegram wants a pause:");
server.fail({ method: "auth.SendCode", message: "FLOOD_WAIT_60" });
const refused = await login(client, { phone: () => PHONE, code: () => "" }).catch((error: unknown) => error);
if (refused instanceof LoginError) console.log(`  ${refused.code}: ${refused.message}`);

console.log(`In the end alice has ${server.authorizationCount("alice")} sessions.`);
