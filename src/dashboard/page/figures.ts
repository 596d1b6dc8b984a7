import { make, setAttribute, setText } from "./dom.js";
import { floodsByMethod, type PoolModel, STATES } from "./pool-model.js";
import { ago, count, counted, duration, shortMethod, visible } from "./text.js";

/** What one figure shows. */
interface FigureText {
  readonly value: string;
  readonly detail: string;
  readonly tone?: "good" | "wait" | "bad";
}

interface Figure {
  readonly name: string;
  readonly question: string;
  read(pool: PoolModel): FigureText;
}

const FIGURES: readonly Figure[] = [
  { name: "free", question: "Can work now", read: freeFigure },
  { name: "next", question: "Next one free", read: nextFigure },
  { name: "floods", question: "Floods most", read: floodFigure },
  { name: "dead", question: "Dead", read: deadFigure },
  { name: "holders", question: "Held by", read: holderFigure },
  { name: "uncertain", question: "Uncertain", read: uncertainFigure },
];

/** The six answers, each a button that leads to the rows behind it. */
export class Figures {
  readonly #cards = new Map<
    Figure,
    { readonly card: HTMLElement; readonly value: HTMLElement; readonly detail: HTMLElement }
  >();
  readonly #bar: HTMLElement;

  /** `onPick` is called with the name of a figure that was pressed. */
  constructor(section: HTMLElement, onPick: (name: string) => void) {
    for (const figure of FIGURES) {
      const value = make("strong", { class: "value" });
      const detail = make("span", { class: "detail" });
      const card = make(
        "button",
        { type: "button", class: "figure", "data-figure": figure.name, click: () => onPick(figure.name) },
        make("span", { class: "question" }, figure.question),
        value,
        detail,
      );
      this.#cards.set(figure, { card, value, detail });
      section.append(card);
    }
    this.#bar = make(
      "div",
      { class: "state-bar", role: "img" },
      ...STATES.map((state) => make("i", { "data-state": state })),
    );
    section.append(this.#bar);
  }

  update(pool: PoolModel): void {
    for (const [figure, { card, value, detail }] of this.#cards) {
      const text = figure.read(pool);
      setText(value, text.value);
      setText(detail, text.detail);
      setAttribute(card, "data-tone", text.tone ?? null);
      setAttribute(value, "data-long", text.value.length > 12 ? "" : null);
    }
    const { status } = pool;
    const counts = STATES.map((state) => [state, status[state] ?? 0] as const);
    for (const [index, [, number]] of counts.entries()) {
      const part = this.#bar.children[index];
      if (!(part instanceof HTMLElement)) continue;
      part.hidden = number === 0;
      part.style.flexGrow = `${number}`;
    }
    const text = counts.filter(([, number]) => number > 0).map(([state, number]) => `${count(number)} ${state}`);
    setAttribute(this.#bar, "aria-label", `Sessions by state: ${text.join(", ") || "none"}`);
  }
}

function freeFigure({ status }: PoolModel): FigureText {
  const { free, total, leased } = status;
  const used = leased === null ? "" : `, ${count(leased)} leased`;
  const tone = free > 0 ? "good" : total > 0 ? "wait" : undefined;
  return { value: count(free), detail: `of ${counted(total, "session")}${used}`, ...(tone && { tone }) };
}

function nextFigure(pool: PoolModel): FigureText {
  const { free, nextAvailableAt, waiters, leased } = pool.status;
  const waiting =
    waiters === null ? "" : waiters === 0 ? "nobody waits" : `${counted(waiters, "caller waits", "callers wait")}`;
  if (free > 0) return { value: "now", detail: waiting || "at once", tone: "good" };
  if (nextAvailableAt !== null) {
    return {
      value: duration(nextAvailableAt - pool.now()),
      detail: waiting || "then the first one is free",
      tone: "wait",
    };
  }
  const isUsed = (leased ?? 0) > 0;
  return {
    value: isUsed ? "at a release" : "unknown",
    detail: waiting || "no instant is known",
    tone: isUsed ? "wait" : "bad",
  };
}

function floodFigure(pool: PoolModel): FigureText {
  const floods = floodsByMethod(pool);
  const [first] = floods;
  if (first === undefined) return { value: "none", detail: "no flood in the last hour", tone: "good" };
  const all = floods.reduce((sum, [, number]) => sum + number, 0);
  return {
    value: shortMethod(first[0]),
    detail: `${count(first[1])} of ${counted(all, "flood")} in the last hour`,
    tone: "wait",
  };
}

function deadFigure(pool: PoolModel): FigureText {
  const { dead } = pool.status;
  if (dead === 0) return { value: "0", detail: "every session is alive", tone: "good" };
  const last = pool.incidents.findLast(({ kind }) => kind === "died");
  if (last !== undefined) {
    const who = visible(last.sessionId ?? "");
    return {
      value: count(dead),
      detail: `${visible(last.reason ?? "")}: ${who}, ${ago(pool.now() - last.at)}`,
      tone: "bad",
    };
  }
  const reasons = new Map<string, number>();
  for (const { state, reason } of pool.sessions.values()) {
    if (state === "dead") reasons.set(reason ?? "", (reasons.get(reason ?? "") ?? 0) + 1);
  }
  const [top] = [...reasons].sort(([, one], [, other]) => other - one);
  return { value: count(dead), detail: top === undefined ? "" : `mostly ${visible(top[0])}`, tone: "bad" };
}

function holderFigure(pool: PoolModel): FigureText {
  const processes = new Map<string, number>();
  let own = 0;
  for (const { holder } of pool.sessions.values()) {
    if (holder === null) continue;
    if (holder.isSelf) own++;
    else processes.set(`${holder.pid} ${holder.isLocal}`, (processes.get(`${holder.pid} ${holder.isLocal}`) ?? 0) + 1);
  }
  const foreign = [...processes.values()].reduce((sum, number) => sum + number, 0);
  const all = processes.size + (own > 0 ? 1 : 0);
  if (all === 0) return { value: "nobody", detail: "no session is connected" };
  const parts = [own > 0 ? `this one has ${count(own)}` : "", foreign > 0 ? `others have ${count(foreign)}` : ""];
  return { value: counted(all, "process", "processes"), detail: parts.filter((part) => part !== "").join(", ") };
}

function uncertainFigure({ runs }: PoolModel): FigureText {
  let uncertain = 0;
  let active = 0;
  for (const run of runs.values()) {
    uncertain += run.uncertain;
    if (!run.hasEnded) active++;
  }
  const detail = active > 0 ? `${counted(active, "bulk run")} under way` : "no bulk run under way";
  if (uncertain === 0) return { value: "0", detail, ...(runs.size > 0 && { tone: "good" as const }) };
  return {
    value: count(uncertain),
    detail: `${uncertain === 1 ? "item" : "items"} may have taken effect`,
    tone: "bad",
  };
}
