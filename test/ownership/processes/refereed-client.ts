import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ClientAdapter } from "../../../src/adapter.js";

/** Watches that no session is connected twice at once, in whichever process, by one lock file per session. */
export class Referee {
  readonly #folder: string;
  readonly #connected = new Set<string>();
  /** What no pool may ever do. */
  readonly violations: string[] = [];
  /** How often a session was connected here. */
  connects = 0;

  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    this.#folder = folder;
  }

  /** Sessions that are connected here. */
  get connected(): readonly string[] {
    return [...this.#connected];
  }

  connect(id: string): void {
    this.connects++;
    try {
      writeFileSync(this.#lockOf(id), `${process.pid}`, { flag: "wx" });
    } catch {
      this.violations.push(`${id} connected in ${process.pid} and ${readFileSync(this.#lockOf(id), "utf8")}`);
    }
    this.#connected.add(id);
  }

  disconnect(id: string): void {
    if (this.#connected.delete(id)) rmSync(this.#lockOf(id));
  }

  #lockOf(id: string): string {
    return join(this.#folder, id);
  }
}

/** A client adapter that connects at once and to nothing, and tells the referee. */
export function refereedClient(referee: Referee): ClientAdapter<object> {
  return {
    open: async () => {},
    create: ({ id }) => {
      const client = {};
      let isConnected = false;
      return {
        connect: async () => {
          referee.connect(id);
          isConnected = true;
        },
        guard: () => client,
        floodError: ({ seconds }) => new Error(`FLOOD_WAIT_${seconds}`),
        close: async () => {
          if (isConnected) referee.disconnect(id);
          isConnected = false;
        },
      };
    },
    invoke: async () => undefined,
  };
}
