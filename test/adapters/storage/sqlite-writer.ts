import { sqlite } from "../../../adapters/storage/sqlite.js";

/** A process of its own: adds `rounds` to the number in the record "counter" by compare-and-set, saying each success. */
const [path = "", rounds = "0"] = process.argv.slice(2);
const storage = sqlite(path);
await storage.open?.();
for (let done = 0; done < Number(rounds); ) {
  const record = await storage.read("counter");
  const next = Number(record?.data ?? 0) + 1;
  if ((await storage.write("counter", record?.version ?? 0, `${next}`)) === undefined) continue;
  done += 1;
  process.stdout.write(`${next}\n`);
}
await storage.close?.();
