import type { Frame, Hello } from "../frames.js";
import { PoolModel } from "./pool-model.js";

/** How the page is connected to its server. */
export type ConnectionState = "connecting" | "live" | "lost" | "paused" | "ended" | "refused";

/** Time after which a page that was refused asks again. */
const RETRY_MS = 3_000;
/** Time for which a page that is not seen stays connected. */
const HIDDEN_MS = 60_000;

/** Follows the pools by Server-Sent Events. */
export class LiveConnection {
  readonly pools: Map<string, PoolModel> = new Map();
  hello: Hello | undefined;
  state: ConnectionState = "connecting";
  readonly #onChange: () => void;
  #source: EventSource | undefined;
  #lastId: string | undefined;
  #hiddenTimer: number | undefined;

  /** `onChange` is called when the state or a pool has changed. */
  constructor(onChange: () => void) {
    this.#onChange = onChange;
    document.addEventListener("visibilitychange", () => this.#onVisibility());
  }

  /** Gets the whole state in one answer, which is compressed, and then follows its changes. */
  async connect(): Promise<void> {
    const { state } = this;
    if (this.#lastId === undefined) {
      const response = await this.#load();
      // The page may have been hidden meanwhile.
      if (this.state !== state) return;
      if (response === undefined || !response.ok) return this.#giveUp(response);
    }
    this.#follow(this.#lastId ?? "");
  }

  /** Takes the whole state over. Resolves with the answer; `undefined` if there was none. */
  async #load(): Promise<Response | undefined> {
    try {
      const response = await fetch("state");
      if (!response.ok) return response;
      const frame = (await response.json()) as Frame;
      this.#apply(frame);
      this.#lastId = frame.id;
      return response;
    } catch {
      return undefined;
    }
  }

  #follow(since: string): void {
    const source = new EventSource(`events?since=${encodeURIComponent(since)}`);
    this.#source = source;
    source.addEventListener("hello", ({ data }) => {
      this.hello = JSON.parse(data) as Hello;
      this.#set("live");
    });
    source.addEventListener("state", ({ data, lastEventId }) => {
      this.#apply(JSON.parse(data) as Frame);
      this.#lastId = lastEventId;
      this.#set("live");
    });
    source.addEventListener("end", () => this.#end("ended"));
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) void this.#onRefused();
      else this.#set("lost");
    });
  }

  /** Sends a change of a session. Resolves with what went wrong, or what is left to happen; `null` if it is done. */
  async change(action: "disable" | "enable" | "remove", pool: string, id: string, reason = ""): Promise<string | null> {
    const query = new URLSearchParams({ pool, id, ...(reason === "" ? {} : { reason }) });
    try {
      const response = await fetch(`${action}?${query}`, {
        method: "POST",
        headers: { "x-session-pool-token": this.hello?.token ?? "" },
      });
      const text = await response.text();
      if (!response.headers.get("content-type")?.startsWith("application/json")) return text.trim();
      return (JSON.parse(text) as { readonly message: string | null }).message;
    } catch {
      return "The server cannot be reached.";
    }
  }

  #apply({ isFull, names, pools }: Frame): void {
    if (isFull) this.pools.clear();
    for (const name of names) if (!this.pools.has(name)) this.pools.set(name, new PoolModel(name));
    for (const frame of pools) this.pools.get(frame.name)?.apply(frame);
  }

  /** The browser gives up when the answer is no stream: the server refuses the page, or has ended. */
  async #onRefused(): Promise<void> {
    if (this.state === "ended") return;
    this.#giveUp(await this.#load());
  }

  /** What follows from an answer of which nothing can be followed. */
  #giveUp(response: Response | undefined): void {
    const hasEnded = response?.ok === true && [...this.pools.values()].every(({ isEnded }) => isEnded);
    if (response?.status === 403 || hasEnded) {
      this.#end(hasEnded ? "ended" : "refused");
      return;
    }
    this.#set("lost");
    setTimeout(() => {
      if (this.state === "lost") void this.connect();
    }, RETRY_MS);
  }

  #end(state: ConnectionState): void {
    this.#source?.close();
    this.#set(state);
  }

  /** A page that nobody sees costs the server nothing after a while. */
  #onVisibility(): void {
    clearTimeout(this.#hiddenTimer);
    if (document.hidden) this.#hiddenTimer = setTimeout(() => this.#pause(), HIDDEN_MS);
    else if (this.state === "paused") {
      this.#set("connecting");
      void this.connect();
    }
  }

  #pause(): void {
    if (this.state === "live" || this.state === "lost") this.#end("paused");
  }

  #set(state: ConnectionState): void {
    this.state = state;
    this.#onChange();
  }
}
