import type { SocketClass } from "./library.js";

/** The part of Node's socket that matters here. */
interface RawSocket {
  setNoDelay?(isOn: boolean): void;
  unref?(): void;
}

/**
 * The user's own socket class with two habits more: it sends at once (GramJS leaves Nagle's algorithm on, which costs
 * 40 ms per concurrent call), and it does not keep the process alive (the pool does, while somebody needs it).
 */
export function politeSocketClass(base: SocketClass): SocketClass {
  const known = classes.get(base);
  if (known !== undefined) return known;
  // The two classes a user can bring have no common constructor type; only `connect` is touched.
  const Base = base as unknown as new (...values: unknown[]) => { connect(...values: unknown[]): Promise<unknown> };
  const polite = class extends Base {
    override async connect(...values: unknown[]): Promise<unknown> {
      const result = await super.connect(...values);
      for (const field of Object.values(this)) tame(field);
      return result;
    }
  } as unknown as SocketClass;
  classes.set(base, polite);
  return polite;
}

/** The libraries' own class has its socket in a field called `client`; another one may call it as it likes. */
function tame(field: unknown): void {
  if (typeof field !== "object" || field === null) return;
  const socket: RawSocket = field;
  if (typeof socket.unref !== "function") return;
  socket.unref();
  if (typeof socket.setNoDelay === "function") socket.setNoDelay(true);
}

const classes = new WeakMap<SocketClass, SocketClass>();
