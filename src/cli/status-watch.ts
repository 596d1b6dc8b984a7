import { setTimeout as sleep } from "node:timers/promises";
import type { SessionStorage } from "../storage/storage.js";
import type { CommandContext } from "./command.js";
import { LiveView } from "./live-view.js";
import { statusSummary, statusTable } from "./session-table.js";
import { processName, type SessionReader, type StoredSession, type StoredSessions } from "./stored-sessions.js";
import { printable, wrap } from "./table.js";
import type { Terminal } from "./terminal.js";
import { instantText } from "./time-text.js";

const REDRAW_MS = 1_000;

/** Shows the status of a storage until the signal aborts: a table that is drawn over, or lines of what changes. */
export async function watchStatus(
  storage: SessionStorage,
  reader: SessionReader,
  { terminal, signal }: Pick<CommandContext, "terminal" | "signal">,
): Promise<void> {
  const changes = new ChangeSignal(storage);
  const view = terminal.isLive ? tableView(terminal) : lineView(terminal);
  try {
    while (!signal.aborted) {
      view.show(await reader.read(), Date.now());
      await Promise.race([sleep(REDRAW_MS, undefined, { signal }), changes.next()]).catch(() => {});
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    view.end();
    changes.stop();
  }
}

/** Resolves when another process has written, if the storage reports that. */
class ChangeSignal {
  #resolve: () => void = () => {};
  readonly #stop: () => void;

  constructor(storage: SessionStorage) {
    this.#stop =
      storage.watch?.(
        () => this.#resolve(),
        () => {},
      ) ?? (() => {});
  }

  next(): Promise<void> {
    return new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  stop(): void {
    this.#stop();
  }
}

interface StatusView {
  show(found: StoredSessions, now: number): void;
  end(): void;
}

/** Totals come first: they are what stays in sight when the accounts are more than the terminal has lines. */
function tableView(terminal: Terminal): StatusView {
  const view = new LiveView(terminal, terminal.stdout);
  return {
    show: (found, now) => {
      const summary = statusSummary(found, now).filter((line) => line !== "");
      const head = `${instantText(now, now)}  ${summary.join("  ")}`;
      view.draw([...fitLines(head, terminal.columns), "", ...statusTable(found.sessions, terminal, now)]);
    },
    end: () => view.end(),
  };
}

/** Breaks a line at its double spaces where it is too long, then at its spaces. */
function fitLines(text: string, columns: number): readonly string[] {
  return text.length <= columns ? [text] : text.split("  ").flatMap((part) => wrap(part, columns));
}

function lineView(terminal: Terminal): StatusView {
  const before = new Map<string, string>();
  let isFirst = true;
  return {
    show: (found, now) => {
      if (isFirst) terminal.print(statusSummary(found, now).join(" ").trim());
      isFirst = false;
      const removed = new Set(before.keys());
      for (const session of found.sessions) {
        const text = stateLine(session, now);
        removed.delete(session.id);
        if (before.get(session.id) !== text)
          terminal.print(`${instantText(now, now)}  ${printable(session.id)}  ${text}`);
        before.set(session.id, text);
      }
      for (const id of removed) {
        terminal.print(`${instantText(now, now)}  ${printable(id)}  removed`);
        before.delete(id);
      }
    },
    end: () => {},
  };
}

/** What a line says of an account: nothing in it changes by the passing of time alone. */
function stateLine(session: StoredSession, now: number): string {
  const { state, availableAt, reason } = session;
  const process = processName(session);
  return [
    state,
    availableAt === null ? "" : `until ${instantText(availableAt, now)}`,
    reason === null ? "" : `(${printable(reason)})`,
    process === "" ? "" : `in process ${process}`,
  ]
    .filter((part) => part !== "")
    .join(" ");
}
