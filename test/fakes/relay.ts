import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** A man in the middle of a client and a test server. He knows no key. */
export interface Relay {
  readonly port: number;
  /** The lines to clients that are open, the latest last. */
  readonly lines: readonly Socket[];
  /** From now on, what the test server says is kept as well as passed on. */
  record(): void;
  /** What was kept. */
  recorded(): Buffer;
}

/** Listens on the loopback interface, and connects whoever comes to `port`. Gone when the test is over. */
export async function startRelay(port: number): Promise<Relay> {
  const lines: Socket[] = [];
  const kept: Buffer[] = [];
  let isRecording = false;
  const server = createServer((line) => {
    const beyond = connect(port, "127.0.0.1");
    lines.push(line);
    line.pipe(beyond);
    beyond.on("data", (chunk) => {
      if (isRecording) kept.push(chunk);
      line.write(chunk);
    });
    for (const socket of [line, beyond]) {
      socket.on("error", () => {});
      socket.on("close", () => {
        line.destroy();
        beyond.destroy();
        if (lines.includes(line)) lines.splice(lines.indexOf(line), 1);
      });
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    for (const line of lines) line.destroy();
    server.close();
  });
  return {
    port: (server.address() as AddressInfo).port,
    lines,
    record: () => {
      isRecording = true;
    },
    recorded: () => Buffer.concat(kept),
  };
}
