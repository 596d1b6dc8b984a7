import type { PoolStatus, SessionInfo } from "../../session-info.js";
import { LiveView } from "../live-view.js";
import type { Style, Terminal } from "../terminal.js";

/** How far the work is. */
export interface Tally {
  readonly total: number;
  /** Jobs done, by account. */
  readonly done: Map<string, number>;
}

/** What a person sees while the demo runs. */
export interface Progress {
  /** Something happened. */
  report(line: string): void;
  /** Shows the last state and stops. */
  stop(): void;
}

interface Pool {
  sessions(): readonly SessionInfo[];
  status(): PoolStatus;
}

const REDRAW_MS = 100;
const PLAIN_LINE_EVERY_MS = 1_000;
const BAR_SIZE = 24;
const NAME_WIDTH = 6;
const STYLES: Partial<Record<SessionInfo["state"], Style>> = { leased: "green", cooling: "yellow", dead: "red" };

/** Bars in a terminal, plain lines in a pipe or a log file. */
export function showProgress(pool: Pool, tally: Tally, terminal: Terminal): Progress {
  return terminal.isLive ? showBars(pool, tally, terminal) : showLines(pool, tally, terminal);
}

function showBars(pool: Pool, tally: Tally, terminal: Terminal): Progress {
  const view = new LiveView(terminal, terminal.stdout);
  const share = Math.ceil((tally.total / pool.sessions().length) * 1.4);
  const draw = (): void => {
    const { waiters } = pool.status();
    const sessions = pool.sessions().map((session) => {
      const count = tally.done.get(session.id) ?? 0;
      return `${bar(session.id, count, share)} ${`${count}`.padStart(3)}  ${describe(session, terminal)}`;
    });
    const done = doneByAll(tally);
    const waiting = waiters > 0 ? terminal.paint("dim", `${waiters} workers wait`) : "";
    view.draw([...sessions, `${bar("all", done, tally.total)} ${done}/${tally.total}  ${waiting}`]);
  };
  draw();
  const timer = setInterval(draw, REDRAW_MS);
  return {
    report: (line) => view.log(line),
    stop: () => {
      clearInterval(timer);
      draw();
      view.end();
    },
  };
}

function bar(name: string, done: number, most: number): string {
  const filled = Math.round(Math.min(done / most, 1) * BAR_SIZE);
  return `  ${name.padEnd(NAME_WIDTH)} ${"█".repeat(filled)}${"░".repeat(BAR_SIZE - filled)}`;
}

function showLines(pool: Pool, tally: Tally, terminal: Terminal): Progress {
  const draw = (): void => {
    const { free, leased, cooling, dead, waiters } = pool.status();
    const counts = `${leased} leased, ${free} free, ${cooling} cooling, ${dead} dead, ${waiters} workers wait`;
    terminal.print(`${String(doneByAll(tally)).padStart(4)}/${tally.total} done: ${counts}`);
  };
  const timer = setInterval(draw, PLAIN_LINE_EVERY_MS);
  return {
    report: (line) => terminal.print(line),
    stop: () => {
      clearInterval(timer);
      draw();
    },
  };
}

/** The state of an account in words, with the seconds left where there are any. */
function describe({ state, availableAt, reason }: SessionInfo, terminal: Terminal): string {
  const left = availableAt === null ? "" : ` ${Math.max(0, (availableAt - Date.now()) / 1_000).toFixed(1)} s left`;
  const why = state === "dead" && reason !== null ? `: ${reason}` : "";
  return terminal.paint(STYLES[state] ?? "dim", `${state}${left}${why}`);
}

function doneByAll(tally: Tally): number {
  return [...tally.done.values()].reduce((sum, count) => sum + count, 0);
}
