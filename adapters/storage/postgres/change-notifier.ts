import { randomUUID } from "node:crypto";
import { KeptWatch } from "../kept-watch.js";
import type { Listen } from "./notifications.js";

/** Postgres refuses a message of 8000 bytes. */
const LONGEST_PAYLOAD = 7_900;

/** Says which record of which table this storage changed, and hears what others did. */
export class ChangeNotifier {
  readonly #table: string;
  readonly #writer: string = randomUUID();
  /** Bound: the watches: one of each pool. */
  readonly #stops = new Set<() => void>();
  /** Bound: as `#stops`. */
  readonly #stopping = new Set<Promise<void>>();

  constructor(table: string) {
    this.#table = table;
  }

  /** What to tell of a write. Nothing about an id too long to be told. */
  payloadFor(id: string): string {
    const payload = JSON.stringify([this.#writer, this.#table, id]);
    return Buffer.byteLength(payload) > LONGEST_PAYLOAD ? "" : payload;
  }

  watch(listen: Listen, changed: (id: string) => void, failed: (error: Error) => void): () => void {
    const subscribe = listen((payload) => {
      const id = this.#foreignId(payload);
      if (id !== undefined && this.#stops.has(stop)) changed(id);
    });
    const watch = new KeptWatch(subscribe, failed);
    const stop = (): void => {
      if (!this.#stops.delete(stop)) return;
      const stopping = watch.stop().finally(() => this.#stopping.delete(stopping));
      this.#stopping.add(stopping);
    };
    this.#stops.add(stop);
    watch.start();
    return stop;
  }

  /** Stops every watch, and waits until their connections are gone. */
  async close(): Promise<void> {
    for (const stop of this.#stops) stop();
    await Promise.all(this.#stopping);
  }

  /** Anybody may notify on a channel: what is not a message of this table by another storage is nobody's. */
  #foreignId(payload: string): string | undefined {
    const [table, writer] = [JSON.stringify(this.#table), JSON.stringify(this.#writer)];
    const parts = /^\[("[^"]*"),("[^"]*"),(".*")\]$/s.exec(payload);
    if (parts?.[1] === writer || parts?.[2] !== table) return undefined;
    try {
      return String(JSON.parse(parts[3] ?? ""));
    } catch {
      return undefined;
    }
  }
}
