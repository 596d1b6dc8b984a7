import type { IncomingMessage, ServerResponse } from "node:http";
import { textOf, warn } from "../common/process-warning.js";
import { SessionNotFoundError, SessionPoolError } from "../errors.js";
import { type Access, AccessControl, type Authorize, checkReader, Refusal } from "./access.js";
import type { ChangeAnswer, Hello } from "./frames.js";
import { LiveFeed } from "./live-feed.js";
import { PAGE } from "./page-assets.js";
import { acceptsGzip, begin, StaticFile, sendCompressedJson, sendJson, sendText } from "./responses.js";
import type { Management, Source } from "./source.js";
import { Viewer } from "./viewer.js";
import { wireText } from "./wire-text.js";

/** Maximum number of pages that look at once. */
const MAX_VIEWERS = 100;
/** Maximum number of answers with the whole state that are under way at once. */
const MAX_STATE_ANSWERS = 100;
/** Time for which the connection of such an answer may take nothing. */
const MAX_BLOCKED_MS = 20_000;
/** Time after which a change is answered although it is not complete: a storage may be slow. */
const ANSWER_WITHIN_MS = 3_000;
const CLOSED = "This dashboard is closed.";
const DEFAULT_REASON = "disabled in the dashboard";

/** The part of a request that `node:http` does not know: where Express is mounted, `url` lacks the path. */
interface MountedRequest extends IncomingMessage {
  readonly originalUrl?: string;
}

/** How the pools of a dashboard are served. */
export interface ServerOptions {
  readonly authorize?: Authorize | undefined;
  /** Path below which the dashboard is: `""`, or one that begins with `/` and does not end with it. */
  readonly basePath: string;
  /** Whether the pools are read from their storage. */
  readonly isStorage: boolean;
  /** Time between two readings, in milliseconds. */
  readonly intervalMs?: number;
}

/** A request that is allowed. */
interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly query: URLSearchParams;
  readonly access: Access;
}

type Route = (call: Call) => Promise<void> | void;

/** What tells how the pools stand. */
const STATE_PATHS: readonly string[] = ["/state", "/events"];
/** A path that no route has. */
const NOWHERE = "/-";

/** Answers the requests for one dashboard. */
export class DashboardServer {
  readonly #sources: readonly Source[];
  readonly #options: ServerOptions;
  readonly #access: AccessControl;
  readonly #feed: LiveFeed;
  readonly #reads: ReadonlyMap<string, Route>;
  readonly #changes: ReadonlyMap<string, Route>;
  #viewerCount = 0;
  #stateAnswerCount = 0;
  #isClosed = false;

  constructor(sources: readonly Source[], options: ServerOptions) {
    this.#sources = sources;
    this.#options = options;
    this.#access = new AccessControl(options.authorize);
    this.#feed = new LiveFeed(sources, options.intervalMs);
    const file = (type: string, content: string): Route => {
      const kept = new StaticFile(type, content);
      return ({ request, response }) => kept.send(request, response);
    };
    this.#reads = new Map<string, Route>([
      ["/", file("text/html; charset=utf-8", PAGE.html)],
      ["/icon.svg", file("image/svg+xml", PAGE.icon)],
      ["/page.css", file("text/css; charset=utf-8", PAGE.css)],
      ["/page.js", file("text/javascript; charset=utf-8", PAGE.script)],
      ["/state", (call) => this.#sendState(call)],
      ["/events", (call) => this.#sendEvents(call)],
    ]);
    this.#changes = new Map<string, Route>([
      ["/disable", this.#change((pool, id, query) => pool.disable(id, query.get("reason") || DEFAULT_REASON))],
      ["/enable", this.#change((pool, id) => pool.enable(id))],
      ["/remove", this.#change((pool, id) => pool.remove(id))],
    ]);
  }

  /** Answers one request. Never throws. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      await this.#answer(request, response);
    } catch (error) {
      if (response.headersSent) response.destroy();
      else if (error instanceof Refusal) sendText(response, error.status, error.message);
      else {
        warn(`The dashboard failed to answer a request: ${textOf(error)}`);
        sendText(
          response,
          500,
          "The dashboard failed to answer this request; the process has a warning with the reason.",
        );
      }
    }
  }

  /** Ends the connections of all pages. Requests are refused from now on. */
  close(): void {
    this.#isClosed = true;
    this.#feed.close();
  }

  async #answer(request: MountedRequest, response: ServerResponse): Promise<void> {
    const access = await this.#access.check(request);
    // Who asked may have left meanwhile.
    if (response.destroyed) return;
    const { path, query } = this.#locate(request);
    if (path === "") {
      sendText(response, 308, "The dashboard is one level deeper.", { location: `./${lastSegment(request)}/` });
      return;
    }
    const isChange = this.#changes.has(path);
    const route = (isChange ? this.#changes : this.#reads).get(path);
    if (route === undefined) {
      throw new Refusal(
        404,
        "There is nothing here. A dashboard below a path needs that path as basePath; Express takes it off by app.use(path, dashboard(pool)).",
      );
    }
    const methods = isChange ? ["POST"] : ["GET", "HEAD"];
    if (!methods.includes(request.method ?? "")) {
      sendText(response, 405, `This can be asked for by ${methods.join(" and ")} only.`, { allow: methods.join(", ") });
      return;
    }
    if (isChange) {
      if (access !== "manage")
        throw new Refusal(403, "You may look at this dashboard, and change nothing (authorize).");
      this.#access.checkOrigin(request);
    }
    if (STATE_PATHS.includes(path)) checkReader(request);
    if (this.#isClosed && path !== "/events") throw new Refusal(503, CLOSED);
    await route({ request, response, query, access });
  }

  /** The path below the dashboard: `"/"` is the page, `""` the page without the slash that its files need. */
  #locate(request: MountedRequest): { readonly path: string; readonly query: URLSearchParams } {
    const { basePath } = this.#options;
    const { url = "/", originalUrl = url } = request;
    const { path, query } = split(url);
    const full = split(originalUrl).path;
    // What a framework has taken off is a path of its own, or the base path.
    const isMounted = full !== path && (basePath === "" || !isBelow(full, basePath));
    if (isMounted && basePath === "") return { path: path === "/" && !full.endsWith("/") ? "" : path, query };
    const seen = isMounted ? path : full;
    return { path: isBelow(seen, basePath) ? seen.slice(basePath.length) : NOWHERE, query };
  }

  async #sendState({ request, response }: Call): Promise<void> {
    if (this.#stateAnswerCount >= MAX_STATE_ANSWERS) {
      throw new Refusal(503, `${MAX_STATE_ANSWERS} answers with this state are under way already.`);
    }
    this.#stateAnswerCount++;
    response.once("close", () => this.#stateAnswerCount--);
    const message = await this.#feed.snapshot();
    const body = acceptsGzip(request.headers) ? await message.compressed() : undefined;
    // For what the client does not take; the storage may need longer.
    const { socket } = response;
    response.setTimeout(MAX_BLOCKED_MS, () => response.destroy());
    response.once("finish", () => {
      // The connection goes on to other answers. Node.js has set its own timeout by now, unless `keepAliveTimeout` is 0.
      if (socket?.timeout === MAX_BLOCKED_MS) socket.setTimeout(0);
    });
    if (body === undefined) sendJson(response, 200, message.data);
    else sendCompressedJson(response, body);
  }

  async #sendEvents({ request, response, query, access }: Call): Promise<void> {
    if (this.#viewerCount >= MAX_VIEWERS) {
      throw new Refusal(503, `${MAX_VIEWERS} pages look at this dashboard already.`);
    }
    const lastId = request.headers["last-event-id"] ?? query.get("since") ?? undefined;
    if (lastId !== undefined && this.#feed.isEnded) {
      // Tells the browser not to connect again.
      begin(response, 204, { "cache-control": "no-store" });
      response.end();
      return;
    }
    if (this.#isClosed) throw new Refusal(503, CLOSED);
    begin(response, 200, {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store, no-transform",
      "x-accel-buffering": "no",
    });
    if (request.method === "HEAD") {
      response.end();
      return;
    }
    this.#viewerCount++;
    response.once("close", () => this.#viewerCount--);
    response.flushHeaders();
    await new Viewer(this.#feed, response).start(this.#hello(access), typeof lastId === "string" ? lastId : undefined);
  }

  #hello(access: Access): Hello {
    const canManage = access === "manage" && this.#sources.some(({ management }) => management !== undefined);
    return {
      access: canManage ? "manage" : "view",
      token: canManage ? this.#access.token : null,
      isStorage: this.#options.isStorage,
      pid: process.pid,
    };
  }

  #change(make: (pool: Management, id: string, query: URLSearchParams) => Promise<unknown>): Route {
    return async ({ response, query }) => {
      const source = this.#sources.find(({ name }) => name === query.get("pool"));
      const id = query.get("id") ?? "";
      if (source?.management === undefined || id === "") throw new Refusal(404, "There is no such pool or session.");
      const answer = await answerOf(make(source.management, id, query), id);
      await this.#feed.refresh();
      sendJson(response, answer.ok ? 200 : 409, JSON.stringify(answer));
    };
  }
}

/** Resolves when the change is done or has failed, or after some seconds while it goes on. */
async function answerOf(change: Promise<unknown>, id: string): Promise<ChangeAnswer> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<ChangeAnswer>((resolve) => {
    const message = `The change of "${id}" takes its time, and goes on.`;
    timer = setTimeout(() => resolve({ ok: true, message }), ANSWER_WITHIN_MS).unref();
  });
  const done = change.then(
    (): ChangeAnswer => ({ ok: true, message: null }),
    (error: unknown): ChangeAnswer => ({ ok: false, message: failureText(error, id) }),
  );
  try {
    return await Promise.race([done, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The pool's own errors are made to be shown; another one may say anything. */
function failureText(error: unknown, id: string): string {
  if (error instanceof SessionNotFoundError) return `There is no session "${id}".`;
  return error instanceof SessionPoolError ? wireText(error.message) : "The change failed.";
}

function isBelow(path: string, basePath: string): boolean {
  return path === basePath || path.startsWith(`${basePath}/`);
}

function split(url: string): { readonly path: string; readonly query: URLSearchParams } {
  const end = url.indexOf("?");
  const path = end === -1 ? url : url.slice(0, end);
  return { path, query: new URLSearchParams(end === -1 ? "" : url.slice(end + 1)) };
}

/** The name of the page in its folder: what a relative location begins with, whatever a proxy has taken off the path. */
function lastSegment({ originalUrl, url = "/" }: MountedRequest): string {
  const { path } = split(originalUrl ?? url);
  return path.slice(path.lastIndexOf("/") + 1);
}
