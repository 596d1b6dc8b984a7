import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import type { Api as ApiTypes, TelegramClient } from "telegram";
import { Api } from "../../fakes/client-library.js";
import { openPool, orders, tell } from "./child.js";

const bigInt = createRequire(import.meta.url)("big-integer") as (value: number) => never;

const download = (client: TelegramClient, dcId?: number): Promise<unknown> =>
  client.downloadFile(
    new Api.InputDocumentFileLocation({
      id: bigInt(1),
      accessHash: bigInt(2),
      fileReference: Buffer.alloc(8),
      thumbSize: "",
    }),
    { fileSize: bigInt(131_072), partSizeKb: 64, ...(dcId === undefined ? {} : { dcId }) },
  ) as Promise<unknown>;

const pool = await openPool({ connectTimeoutMs: 1_000, callTimeoutMs: 1_000 });
const before = await pool.exportSession("account1");

const jobs: Readonly<Record<string, () => Promise<unknown>>> = {
  download: () => pool.use((client) => download(client, 4), { wait: false }),
  invoke: () => pool.use((client) => client.invoke(new Api.help.GetConfig(), 4), { wait: false }),
  FILE_MIGRATE_4: () => pool.use((client) => download(client), { wait: false }),
  USER_MIGRATE_4: () => pool.use((client) => client.getMe(), { wait: false }),
  async cooling() {
    using lease = await pool.acquire();
    lease.coolDown(1);
    await download(lease.client, 4);
  },
  async released() {
    const lease = await pool.acquire();
    const work = download(lease.client, 4);
    setTimeout(() => lease.release(), 100);
    await work;
  },
};

const input = createInterface({ input: process.stdin });
const told = input[Symbol.asyncIterator]();

for (const name of orders.mode.split(",")) {
  tell(`${name} begins`);
  await told.next();
  const failure = await jobs[name]?.().then(
    () => undefined,
    (error: unknown) => error,
  );
  tell(`${name} settled`, { error: failure instanceof Error ? failure.name : failure });
  const me = (await pool.use((client) => client.getMe())) as ApiTypes.User;
  tell(`${name} over`, { name: me.username, isSame: (await pool.exportSession("account1")) === before });
}
await told.next();
input.close();
process.stdin.destroy();
await pool.close();
