import KeyvSqlite from "@keyv/sqlite";
import Keyv from "keyv";
import { keyv } from "../../../adapters/storage/keyv.js";
import { SessionPool } from "../../../src/index.js";
import { FakeTelegram } from "../../fakes/fake-telegram.js";
import { VirtualClock } from "../../fakes/virtual-clock.js";

/** A process of its own that has a pool open on a Keyv in a file until it is ended. */
const [path = ""] = process.argv.slice(2);
await SessionPool.open({
  client: new FakeTelegram(new VirtualClock()),
  storage: keyv(new Keyv({ store: new KeyvSqlite(`sqlite://${path}`) })),
});
process.stdout.write("open");
setInterval(() => {}, 1_000);
