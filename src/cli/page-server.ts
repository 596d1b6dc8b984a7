import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Dashboard } from "../dashboard/index.js";
import { CommandError } from "./command.js";

const HOST = "127.0.0.1";

/** Serves a dashboard on this machine while the work runs, which gets its URL. `port` 0 is any that is free. */
export async function whileServed(board: Dashboard, port: number, work: (url: string) => Promise<void>): Promise<void> {
  const server = createServer(board);
  try {
    server.listen(port, HOST);
    await once(server, "listening").catch(({ code }: NodeJS.ErrnoException) => {
      throw new CommandError(`Port ${port} of ${HOST} cannot be used: ${code}.`);
    });
    await work(`http://${HOST}:${(server.address() as AddressInfo).port}/`);
  } finally {
    board.close();
    server.close();
    server.closeAllConnections();
  }
}
