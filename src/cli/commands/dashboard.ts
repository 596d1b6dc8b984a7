import { setTimeout as sleep } from "node:timers/promises";
import { DashboardServer } from "../../dashboard/dashboard-server.js";
import { toListener } from "../../dashboard/index.js";
import { type Command, STORAGE_OPTIONS, UsageError } from "../command.js";
import { whileServed } from "../page-server.js";
import { withStorage } from "../storage-url.js";
import { StoredSource } from "../stored-source.js";

const LARGEST_PORT = 65_535;
/** Time between two readings while no page is open, for the last hour that a page shows. */
const OBSERVE_MS = 10_000;

/** `dashboard`: how the accounts stand, as a page. */
export const dashboardCommand: Command = {
  usage: "[--port N]",
  description:
    "Serves a page on 127.0.0.1 that shows how each account stands, until Ctrl-C. Reads the storage only: it connects nothing, changes nothing, and works beside running processes.",
  options: {
    ...STORAGE_OPTIONS,
    port: { type: "string", value: "N", description: "its port (default any that is free)" },
  },
  positionals: { min: 0, max: 0 },
  example: "telegram-session-pool dashboard --port 8080",
  async run(context) {
    const { arguments: given, signal, terminal } = context;
    const port = portOf(given.text("port"));
    return withStorage(context, async ({ name, storage }) => {
      const source = new StoredSource(name, storage);
      await source.observe();
      const board = toListener(new DashboardServer([source], { basePath: "", isStorage: true }));
      await whileServed(board, port, async (url) => {
        if (given.flag("json")) terminal.print(JSON.stringify({ url }, undefined, 2));
        else terminal.print(`${url} shows ${name} until Ctrl-C.`);
        await observeUntil(source, signal);
      });
      return { text: "", json: undefined };
    });
  },
};

/** A storage may be away for a while. */
async function observeUntil(source: StoredSource, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await sleep(OBSERVE_MS, undefined, { signal }).catch(() => {});
    if (!signal.aborted) await source.observe().catch(() => {});
  }
}

function portOf(text: string | undefined): number {
  if (text === undefined) return 0;
  const port = Number(text);
  if (/^\d+$/.test(text) && port >= 1 && port <= LARGEST_PORT) return port;
  throw new UsageError(`--port must be a whole number from 1 to ${LARGEST_PORT}; got "${text}".`);
}
