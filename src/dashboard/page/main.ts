import { Charts } from "./charts.js";
import { type ConnectionState, LiveConnection } from "./connection.js";
import { byId, make, setAttribute, setText } from "./dom.js";
import { Figures } from "./figures.js";
import {
  accountItems,
  incidentItems,
  ListView,
  leaseItems,
  processItems,
  proxyItems,
  runItems,
  showNotice,
} from "./lists.js";
import type { PoolModel } from "./pool-model.js";
import { SessionDialog } from "./session-dialog.js";
import { SessionTable } from "./session-table.js";
import { count } from "./text.js";

const CONNECTION_TEXTS: Readonly<Record<ConnectionState, string>> = {
  connecting: "Connecting …",
  live: "Live",
  lost: "Reconnecting …",
  paused: "Paused",
  ended: "Closed",
  refused: "Not allowed",
};

/** Time between two drawings of what passes by itself. */
const REDRAW_MS = 1_000;

/** The page: shows one pool at a time. */
class Page {
  readonly #connection: LiveConnection = new LiveConnection(() => this.#update());
  readonly #figures = new Figures(byId("figures"), (name) => this.#onFigure(name));
  readonly #charts = new Charts(byId("timeline"));
  readonly #dialog = new SessionDialog(this.#connection);
  readonly #table = new SessionTable(byId("sessions"), (row) => {
    const pool = this.#pool;
    if (pool !== undefined) this.#dialog.open(pool, row);
  });
  readonly #lists: readonly ListView[] = [
    new ListView(byId("leases"), "No session is leased.", leaseItems),
    new ListView(byId("runs"), "No map() is under way.", runItems),
    new ListView(byId("processes"), "No process has a session connected.", processItems),
    new ListView(byId("proxies"), "There are no sessions.", proxyItems),
    new ListView(
      byId("accounts"),
      "No account is frozen, no session ends within 30 days, and no account has several sessions.",
      accountItems,
    ),
    new ListView(byId("incidents"), "Nothing since this dashboard was made.", incidentItems),
  ];
  /** Name of the pool that is shown. */
  #name: string | undefined;
  #poolsText = "";

  start(): void {
    void this.#connection.connect();
    setInterval(() => {
      if (!document.hidden) this.#update();
    }, REDRAW_MS);
  }

  get #pool(): PoolModel | undefined {
    const { pools } = this.#connection;
    const [first] = pools.values();
    return pools.get(this.#name ?? "") ?? first;
  }

  #update(): void {
    const { state, hello } = this.#connection;
    const pool = this.#pool;
    const text = pool?.isEnded && state === "live" ? "Closed" : CONNECTION_TEXTS[state];
    setText(byId("connection"), text);
    setAttribute(byId("connection"), "data-state", state);
    if (pool === undefined || state === "connecting") return;
    byId("main").hidden = false;
    setAttribute(document.body, "data-source", hello?.isStorage ? "storage" : "process");
    showNotice(byId("notice"), noticeOf(pool, state, hello?.isStorage === true));
    this.#showPools();
    this.#figures.update(pool);
    this.#charts.update(pool);
    this.#table.update(pool);
    this.#dialog.update(pool);
    for (const list of this.#lists) list.update(pool);
  }

  /** One button for each pool, where there are several. */
  #showPools(): void {
    const pools = [...this.#connection.pools.values()];
    const navigation = byId("pools");
    navigation.hidden = pools.length < 2;
    const text = JSON.stringify([this.#pool?.name, pools.map(({ name, status }) => [name, status.free, status.total])]);
    if (pools.length < 2 || text === this.#poolsText) return;
    this.#poolsText = text;
    const focused = document.activeElement?.getAttribute("data-pool");
    navigation.replaceChildren(
      ...pools.map(({ name, status }) =>
        make(
          "button",
          {
            type: "button",
            "data-pool": name,
            "aria-pressed": `${name === this.#pool?.name}`,
            click: () => this.#select(name),
          },
          make("bdi", {}, name),
          make("span", {}, ` ${count(status.free)}/${count(status.total)}`),
        ),
      ),
    );
    if (focused) navigation.querySelector<HTMLElement>(`[data-pool="${CSS.escape(focused)}"]`)?.focus();
  }

  #select(name: string): void {
    this.#name = name;
    this.#update();
  }

  /** Leads to the rows behind a figure. */
  #onFigure(name: string): void {
    const places: Readonly<Record<string, string>> = { floods: "timeline", holders: "processes", uncertain: "runs" };
    if (name === "free") this.#table.showStates("free");
    if (name === "next")
      this.#table.show({
        states: new Set(["cooling", "leased"]),
        flags: new Set(),
        text: "",
        tag: "",
        sort: "until",
        isDescending: false,
      });
    if (name === "dead") this.#table.showStates("dead");
    const place = byId(places[name] ?? "sessions");
    place.scrollIntoView({ block: "start" });
    place.focus({ preventScroll: true });
  }
}

function noticeOf(pool: PoolModel, state: ConnectionState, isStorage: boolean): string {
  if (pool.isEnded || state === "ended") return "This pool is closed. What you see is how it was at its end.";
  if (state === "lost") return "The connection to the server is lost. What you see is how it was then.";
  if (state === "refused") return "You are not allowed to see this dashboard any more.";
  if (pool.isStale) return "The last reading failed, and is tried again. What you see is how it was before.";
  return isStorage
    ? "Read from the storage, beside the processes that use it: leases, waiting callers and calls are theirs alone."
    : "";
}

new Page().start();
