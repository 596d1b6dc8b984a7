import { createServer, type IncomingMessage, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";
import { deferred } from "../../src/common/deferred.js";
import type { Frame, Hello, PoolFrame } from "../../src/dashboard/frames.js";
import { type Dashboard, type DashboardOptions, type DashboardPools, dashboard } from "../../src/dashboard/index.js";
import { lookOften } from "../canary/canary.js";

/** An answer of a server. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
}

/** A request as a test describes it. */
export interface Asked {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Makes a request of its own connection. */
export function ask(origin: string, path: string, { method = "GET", headers = {} }: Asked = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request(`${origin}${path}`, { method, headers, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (text += chunk));
      response.on("end", () => {
        lookOften("an answer of the dashboard", text);
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
      });
      response.on("error", reject);
    });
    asked.on("error", reject);
    asked.end();
  });
}

/** Makes a server listen on 127.0.0.1 until the test ends. Returns its origin. */
export async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A dashboard on a server of its own. */
export interface Served {
  readonly board: Dashboard;
  readonly server: Server;
  readonly origin: string;
}

export async function serve(pools: DashboardPools, options: DashboardOptions = {}): Promise<Served> {
  const board = dashboard(pools, options);
  const server = createServer(board);
  const origin = await listen(server);
  onTestFinished(() => board.close());
  return { board, server, origin };
}

/** The whole state of a dashboard. */
export async function stateOf(origin: string, path = "/state"): Promise<Frame> {
  const { status, text } = await ask(origin, path);
  if (status !== 200) throw new Error(`${status}: ${text}`);
  return JSON.parse(text) as Frame;
}

/** The state of its only pool. */
export async function poolOf(origin: string): Promise<PoolFrame> {
  const [pool] = (await stateOf(origin)).pools;
  if (pool === undefined) throw new Error("There is no pool.");
  return pool;
}

/** One event of a stream. */
export interface StreamEvent {
  readonly name: string;
  readonly id: string | undefined;
  readonly data: string;
}

/** A page's stream of events, read as a browser does. */
export class EventStream {
  readonly events: StreamEvent[] = [];
  readonly status: Promise<number>;
  /** Resolves when the server has ended the stream. */
  readonly ended: Promise<void>;
  readonly #end: () => void;
  #changed: () => void = () => {};

  constructor(origin: string, lastId?: string) {
    const headers = lastId === undefined ? {} : { "last-event-id": lastId };
    const asked = request(`${origin}/events`, { headers, agent: false });
    const answered = deferred<number>();
    const over = deferred();
    this.status = answered.promise;
    this.ended = over.promise;
    this.#end = () => asked.destroy();
    asked.on("error", () => over.resolve());
    asked.on("close", () => over.resolve());
    asked.on("response", (response) => {
      answered.resolve(response.statusCode ?? 0);
      let rest = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        lookOften("the stream of the dashboard", chunk);
        const parts = (rest + chunk).split("\n\n");
        rest = parts.pop() ?? "";
        for (const part of parts) this.#add(part);
        this.#changed();
      });
      response.on("close", () => over.resolve());
    });
    asked.end();
    onTestFinished(() => this.close());
  }

  close(): void {
    this.#end();
  }

  get hello(): Hello | undefined {
    const event = this.events.find(({ name }) => name === "hello");
    return event && (JSON.parse(event.data) as Hello);
  }

  get frames(): readonly Frame[] {
    return this.events.filter(({ name }) => name === "state").map(({ data }) => JSON.parse(data) as Frame);
  }

  get lastId(): string | undefined {
    return this.events.findLast(({ id }) => id !== undefined)?.id;
  }

  /** Resolves when so many state messages have come. */
  async until(isThere: (stream: EventStream) => boolean): Promise<void> {
    while (!isThere(this)) {
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  #add(part: string): void {
    const fields = new Map(
      part.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)] as const),
    );
    const name = fields.get("event");
    if (name !== undefined) this.events.push({ name, id: fields.get("id"), data: fields.get("data") ?? "" });
  }
}
