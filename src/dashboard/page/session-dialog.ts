import type { NamedCooldown, SessionRow } from "../frames.js";
import type { LiveConnection } from "./connection.js";
import { make, setText } from "./dom.js";
import { blockedUntil, type PoolModel } from "./pool-model.js";
import { barPart, holderText } from "./session-row.js";
import { ago, dateTime, days, duration, visible } from "./text.js";

type Action = "disable" | "enable" | "remove";

const QUESTIONS: Readonly<Record<Action, string>> = {
  disable: "Disable this session? No caller gets it until it is enabled; its current lease may finish.",
  enable: "Enable this session? That ends its death, restriction or disabling. A cooldown stays.",
  remove: "Remove this session and its record? Its session string is lost, unless you have it elsewhere.",
};

/** Sessions of one account that are named. */
const MAX_SIBLINGS = 10;

/** Everything about one session, and what can be done with it. */
export class SessionDialog {
  readonly #connection: LiveConnection;
  readonly #dialog: HTMLDialogElement;
  readonly #title = make("h2", { id: "dialog-title" });
  readonly #facts = make("dl");
  readonly #actions = make("div", { class: "actions" });
  readonly #message = make("p", { class: "message", role: "alert" });
  #pool: PoolModel | undefined;
  #row: SessionRow | undefined;

  constructor(connection: LiveConnection) {
    this.#connection = connection;
    const close = make(
      "button",
      { type: "button", class: "close", "aria-label": "Close", click: () => this.#dialog.close() },
      "×",
    );
    this.#dialog = make(
      "dialog",
      { "aria-labelledby": "dialog-title" },
      make("header", {}, make("bdi", {}, this.#title), close),
      this.#facts,
      this.#message,
      this.#actions,
    );
    this.#dialog.addEventListener("click", ({ target }) => {
      if (target === this.#dialog) this.#dialog.close();
    });
    document.body.append(this.#dialog);
  }

  open(pool: PoolModel, row: SessionRow): void {
    this.#pool = pool;
    this.#row = row;
    setText(this.#message, "");
    this.#showFacts();
    this.#showActions();
    if (!this.#dialog.open) this.#dialog.showModal();
  }

  /** Shows what is new of the session while the dialog is open. */
  update(pool: PoolModel): void {
    if (!this.#dialog.open || pool !== this.#pool || this.#row === undefined) return;
    const row = pool.sessions.get(this.#row.id);
    if (row === undefined) {
      this.#dialog.close();
      return;
    }
    const hasChanged = row.state !== this.#row.state;
    this.#row = row;
    this.#showFacts();
    if (hasChanged) this.#showActions();
  }

  #showFacts(): void {
    const row = this.#row;
    if (row === undefined || this.#pool === undefined) return;
    const now = this.#pool.now();
    setText(this.#title, visible(row.id));
    const until = blockedUntil(row);
    const facts: readonly (readonly [string, Node | string | null])[] = [
      ["State", make("span", { class: "state", "data-state": row.state }, row.state)],
      ["Reason", row.reason === null ? null : visible(row.reason)],
      ["Until", until === null ? null : `${dateTime(until)} (${duration(until - now)})`],
      ["Methods that cool", cooldownList(row.methods, now)],
      ["Peers that cool", cooldownList(row.peers, now)],
      ["Tags", row.tags.length === 0 ? null : row.tags.map(visible).join(", ")],
      ["Account", accountText(row, this.#pool.siblingsOf(row))],
      ["Frozen", row.isFrozen ? "yes: it reads, and changes nothing" : null],
      [
        "Ends",
        row.expiresAt === null ? null : `${dateTime(row.expiresAt)} (${days(row.expiresAt - now)}), if it stays unused`,
      ],
      ["Held by", row.holder === null ? "nobody" : `${holderText(row)} (pid ${row.holder.pid})`],
      ["Connection", row.isConnected ? "connected" : "not connected by this process"],
      ["Proxy", row.proxy === null ? "none" : visible(row.proxy)],
      ["Last used", row.lastUsedAt === null ? "never" : `${dateTime(row.lastUsedAt)} (${ago(now - row.lastUsedAt)})`],
      ["Added", dateTime(row.addedAt)],
    ];
    const shown = facts.filter(([, value]) => value !== null);
    this.#facts.replaceChildren(
      ...shown.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, make("bdi", {}, value))]),
    );
  }

  #showActions(): void {
    const row = this.#row;
    if (row === undefined || this.#connection.hello?.access !== "manage") {
      this.#actions.replaceChildren();
      return;
    }
    const isOut = row.state === "dead" || row.state === "restricted" || row.state === "disabled";
    const actions: readonly Action[] = isOut ? ["enable", "remove"] : ["disable", "remove"];
    this.#actions.replaceChildren(
      ...actions.map((action) =>
        make("button", { type: "button", "data-action": action, click: () => this.#ask(action) }, title(action)),
      ),
    );
  }

  /** Asks before anything is changed. */
  #ask(action: Action): void {
    setText(this.#message, "");
    const yes = make(
      "button",
      { type: "button", class: "yes", "data-action": action, click: () => void this.#do(action) },
      title(action),
    );
    const no = make("button", { type: "button", click: () => this.#showActions() }, "Cancel");
    this.#actions.replaceChildren(make("p", { class: "question" }, QUESTIONS[action]), yes, no);
    no.focus();
  }

  async #do(action: Action): Promise<void> {
    if (this.#pool === undefined || this.#row === undefined) return;
    for (const button of this.#actions.querySelectorAll("button")) button.disabled = true;
    const message = await this.#connection.change(action, this.#pool.name, this.#row.id);
    setText(this.#message, message === null ? "" : visible(message));
    this.#showActions();
    if (message === null) this.#dialog.close();
  }
}

function accountText({ accountId }: SessionRow, siblings: readonly string[]): string | null {
  if (accountId === null || siblings.length < 2) return accountId;
  const named = siblings.toSorted().slice(0, MAX_SIBLINGS).map(visible).join(", ");
  const more = siblings.length > MAX_SIBLINGS ? ", …" : "";
  return `${accountId}, of ${siblings.length} sessions: ${named}${more}`;
}

function title(action: Action): string {
  return `${action.charAt(0).toUpperCase()}${action.slice(1)}`;
}

function cooldownList(cooldowns: readonly NamedCooldown[], now: number): Node | null {
  const active = cooldowns.filter(([, until]) => until > now);
  if (active.length === 0) return null;
  const items = active.map(([name, until]) => {
    const bar = make("i", { "data-state": "cooling" });
    bar.style.transform = `scaleX(${barPart(until - now).toFixed(3)})`;
    return make(
      "li",
      {},
      make("bdi", {}, visible(name)),
      make("span", { class: "bar", "aria-hidden": "true" }, bar),
      duration(until - now),
    );
  });
  return make("ul", { class: "cooldowns" }, ...items);
}
