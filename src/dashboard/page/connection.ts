import type { Frame, Hello } from "../frames.js";
import { PoolModel } from "./pool-model.js";

/** How the page is connected to its server. */
export type ConnectionState = "connecting" | "live" | "lost" | "paused" | "ended" | "refused";

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

  connect(): void {
    const since = this.#lastId === undefined ? "" : `?since=${encodeURIComponent(this.#lastId)}`;
    const source = new EventSource(`events${since}`);
    this.#source = source;
    source.addEventListener("hello", ({ data }) => {
      this.hello = JSON.parse(data) as Hello;
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
    const response = await fetch("state").catch(() => undefined);
    if (response?.status === 403) return this.#end("refused");
    if (response?.ok && [...this.pools.values()].every(({ isEnded }) => isEnded)) return this.#end("ended");
    this.#set("lost");
    setTimeout(() => {
      if (this.state === "lost") this.connect();
    }, 3_000);
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
      this.connect();
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
