import { styleText } from "node:util";
import cliProgress from "cli-progress";
import type { SessionInfo, SessionPool } from "telegram-session-pool";

/** How far the work is. */
export interface Tally {
  readonly total: number;
  /** Jobs done, by account. */
  readonly done: Map<string, number>;
}

/** What a person sees while the demo runs. */
export interface Progress {
  /** Something happened. */
  tell(line: string): void;
  /** Shows the last state and stops. */
  stop(): void;
}

type Pool = Pick<SessionPool<unknown>, "sessions" | "status">;
type Style = Parameters<typeof styleText>[0];

const REDRAWS_A_SECOND = 10;
const PLAIN_LINE_EVERY_MS = 1_000;
const CLEAR_REST_OF_LINE = "\u001b[K";
const NAME_WIDTH = 6;
const STYLES: Partial<Record<SessionInfo["state"], Style>> = { leased: "green", cooling: "yellow", dead: "red" };

/** Bars in a terminal, plain lines in a pipe or a log file. */
export function showProgress(pool: Pool, tally: Tally): Progress {
  return process.stdout.isTTY ? showBars(pool, tally) : showLines(pool, tally);
}

/** In colour, where colour is wanted. */
export function paint(style: Style, text: string): string {
  const isWanted = process.stdout.isTTY && process.env.NO_COLOR === undefined && process.env.TERM !== "dumb";
  return isWanted ? styleText(style, text) : text;
}

function showBars(pool: Pool, tally: Tally): Progress {
  const bars = new cliProgress.MultiBar({
    stream: process.stdout,
    fps: REDRAWS_A_SECOND,
    format: (options, { progress, value, total }, { name, note }: { name: string; note: string }) => {
      const filled = Math.round(Math.min(progress, 1) * (options.barsize ?? 0));
      const bar = "█".repeat(filled) + "░".repeat((options.barsize ?? 0) - filled);
      return `  ${name.padEnd(NAME_WIDTH)} ${bar} ${String(value).padStart(3)}${name === "all" ? `/${total}` : ""}  ${note}`;
    },
    barsize: 24,
    hideCursor: true,
    forceRedraw: true, // else a line that did not change stays where the last log line has just been written
    gracefulExit: false,
  });
  const share = Math.ceil((tally.total / pool.sessions().length) * 1.4);
  const rows = new Map(pool.sessions().map(({ id }) => [id, bars.create(share, 0, { name: id, note: "" })]));
  const all = bars.create(tally.total, 0, { name: "all", note: "" });
  const draw = (): void => {
    for (const session of pool.sessions()) {
      rows.get(session.id)?.update(doneBy(tally, session.id), { name: session.id, note: describe(session) });
    }
    const { waiters } = pool.status();
    all.update(doneByAll(tally), { name: "all", note: waiters > 0 ? paint("dim", `${waiters} workers wait`) : "" });
  };
  draw();
  const timer = setInterval(draw, 1_000 / REDRAWS_A_SECOND);
  return {
    tell: (line) => bars.log(`${line}${CLEAR_REST_OF_LINE}\n`),
    stop: () => {
      clearInterval(timer);
      draw();
      bars.update();
      bars.stop();
    },
  };
}

function showLines(pool: Pool, tally: Tally): Progress {
  const draw = (): void => {
    const { free, leased, cooling, dead, waiters } = pool.status();
    const counts = `${leased} leased, ${free} free, ${cooling} cooling, ${dead} dead, ${waiters} workers wait`;
    console.log(`${String(doneByAll(tally)).padStart(4)}/${tally.total} done: ${counts}`);
  };
  const timer = setInterval(draw, PLAIN_LINE_EVERY_MS);
  return {
    tell: (line) => console.log(line),
    stop: () => {
      clearInterval(timer);
      draw();
    },
  };
}

/** The state of an account in words, with the seconds left where there are any. */
function describe({ state, availableAt, reason }: SessionInfo): string {
  const left = availableAt === null ? "" : ` ${Math.max(0, (availableAt - Date.now()) / 1_000).toFixed(1)} s left`;
  const why = state === "dead" && reason !== null ? `: ${reason}` : "";
  return paint(STYLES[state] ?? "dim", `${state}${left}${why}`);
}

function doneBy(tally: Tally, id: string): number {
  return tally.done.get(id) ?? 0;
}

function doneByAll(tally: Tally): number {
  return [...tally.done.values()].reduce((sum, count) => sum + count, 0);
}
