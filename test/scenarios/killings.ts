import { fileURLToPath } from "node:url";
import { nodeDriver } from "../../adapters/storage/sqlite/handle-driver.js";
import { keyvDriver } from "../../adapters/storage/sqlite/keyv-driver.js";
import { retryWhileBusy, type SqliteDriver } from "../../adapters/storage/sqlite/sqlite-driver.js";
import { type CallDuringWait, type ForkedTestServer, forkTestServer } from "../../src/testing/index.js";
import { seededRandom } from "../fakes/seeded-random.js";
import { type Child, type Line, startScript } from "../ownership/processes/child.js";

/** The account that no limit is on. */
const ACCOUNTS = ["steady", "limited1", "limited2", "limited3", "revoked"];
/** A process that was told of a wait may be killed before it has written it down; not much later than that. */
const WRITES_WITHIN_MS = 1_000;
/** The test server and a process do not round a wait's end alike. */
const SAME_WAIT_MS = 300;

const script = fileURLToPath(new URL("./processes/crashing.ts", import.meta.url));

/** How a session has to stand: `state: null` says that there is none. */
interface Standing {
  readonly state: string | null;
  readonly reason: string | null;
  readonly tags: readonly string[];
}

const GONE: Standing = { state: null, reason: null, tags: [] };

interface SeenSession extends Standing {
  readonly id: string;
  readonly availableAt: number | null;
}

/** What many killings have shown. */
export interface Findings {
  readonly kills: number;
  /** What was acknowledged before a killing and not there after it. */
  readonly lost: readonly string[];
  /** Calls on a session that the killed process had told to be cooling, or had had the time to write down as that. */
  readonly broken: readonly CallDuringWait[];
  /** Calls in a wait that the killed process was told of in its last moment, and nobody else. */
  readonly untold: number;
  /** What the check of the file said, other than "ok". */
  readonly damages: readonly string[];
  readonly failures: readonly string[];
  readonly duplicates: number;
  readonly maxConnectionsPerKey: number;
  /** Milliseconds from the killing to the next process's first answer, on an account the killed one had connected. */
  readonly takeoversMs: readonly number[];
  readonly changes: number;
  readonly waits: number;
  readonly calls: number;
}

export interface KillingOptions {
  readonly file: string;
  readonly kills: number;
  /** Of the random moments at which processes are killed. */
  readonly seed: number;
  /** Told of every process, to end it whatever happens, and to watch it. */
  onChild(child: Child): void;
  /** Told of the test server, to end it whatever happens. */
  onServer(server: ForkedTestServer): void;
  onKill?(kills: number): void;
}

/** Kills one process after the other in the middle of its work; the next one goes on in the same moment. */
export async function killMany(options: KillingOptions): Promise<Findings> {
  const server = await forkTestServer({ accounts: ACCOUNTS.map((name) => ({ name })) });
  options.onServer(server);
  for (const account of ACCOUNTS.slice(1)) {
    await server.limit("messages.SendMessage", { account, calls: 6, perMs: 1_000, waitSeconds: 1 });
  }
  const revoked = { account: "revoked", method: "messages.SendMessage", skip: 20 };
  await server.fail({ ...revoked, message: "SESSION_REVOKED", code: 401 });
  const killings = new Killings(server, options);
  await killings.run();
  return killings.findings();
}

class Killings {
  readonly #server: ForkedTestServer;
  readonly #options: KillingOptions;
  readonly #random: () => number;
  readonly #standings = new Map<string, Standing>();
  readonly #cooled = new Map<string, number>();
  readonly #told: { readonly id: string; readonly until: number; readonly killedAt: number }[] = [];
  readonly #killedAt: number[] = [];
  readonly #lost: string[] = [];
  readonly #damages: string[] = [];
  readonly #failures: string[] = [];
  readonly #takeoversMs: number[] = [];
  /** What a process was about to change when it was killed: it may be as before or as it wanted. */
  #open: Line | undefined;
  #changes = 0;

  constructor(server: ForkedTestServer, options: KillingOptions) {
    this.#server = server;
    this.#options = options;
    this.#random = seededRandom(options.seed);
  }

  async run(): Promise<void> {
    const { kills, onKill } = this.#options;
    let current = await this.#loaded();
    current.tell("go");
    for (let kill = 0; kill < kills; kill++) {
      const next = await this.#loaded();
      await this.#middleOfWork(current, kill);
      this.#killedAt.push(Date.now());
      const ended = current.kill("SIGKILL");
      // Not even its death is waited for.
      next.tell("go");
      const checked = this.#checkFile();
      await ended;
      this.#note(current);
      await this.#succeeded(next);
      await checked;
      onKill?.(kill + 1);
      current = next;
    }
    await current.kill("SIGKILL");
  }

  async findings(): Promise<Findings> {
    const { violations, maxConnectionsPerKey, waits, calls, connections } = await this.#server.report();
    const duplicates = await this.#server.duplicates({ key: ({ text }) => text });
    const openedAt = new Map(connections.map((entry) => [entry.connection, entry.openedAt]));
    const broken = violations.filter((call) => !this.#isUntold(call, openedAt.get(call.connection) ?? 0));
    return {
      kills: this.#killedAt.length,
      lost: this.#lost,
      broken,
      untold: violations.length - broken.length,
      damages: this.#damages,
      failures: this.#failures,
      duplicates: duplicates.length,
      maxConnectionsPerKey,
      takeoversMs: this.#takeoversMs,
      changes: this.#changes,
      waits: waits.length,
      calls: calls.length,
    };
  }

  async #loaded(): Promise<Child> {
    const { host, port, accounts } = this.#server;
    const orders = { host, port, file: this.#options.file, mode: "crashing" };
    const child = startScript(script, {
      ...orders,
      accounts: accounts.map(({ name, session }) => ({ name, session })),
    });
    this.#options.onChild(child);
    await child.said("loaded");
    return child;
  }

  /** A random moment; in every fourth round right after a flood was told, if one is. */
  async #middleOfWork(child: Child, round: number): Promise<void> {
    const pause = new Promise((resolve) => setTimeout(resolve, this.#random() * 500));
    const flooded = round % 4 === 3 ? child.said("cooled").catch(() => {}) : new Promise(() => {});
    await Promise.race([flooded, pause]);
  }

  /** Takes in what the killed process has said. */
  #note(child: Child): void {
    for (const line of child.lines) {
      const { word, id, state, reason, tags } = line as unknown as Line & SeenSession;
      if (word === "cooled") this.#noteCooldown(id, Number(line.until));
      if (word === "died") this.#standings.set(id, { state: "dead", reason, tags: [] });
      if (word === "changing") this.#open = line;
      if (word === "storageFailed" || word === "unhandledRejection") this.#failures.push(JSON.stringify(line));
      if (word !== "changed") continue;
      this.#open = undefined;
      this.#changes++;
      this.#standings.set(id, { state, reason, tags });
    }
  }

  #noteCooldown(id: string, until: number): void {
    this.#told.push({ id, until, killedAt: this.#killedAt.at(-1) ?? 0 });
    this.#cooled.set(id, Math.max(this.#cooled.get(id) ?? 0, until));
  }

  /** Compares what the next process has found with what was acknowledged before. */
  async #succeeded(child: Child): Promise<void> {
    const used = await child.said("used");
    this.#takeoversMs.push(used.at - (this.#killedAt.at(-1) ?? 0));
    const line = await child.said("found");
    const found = new Map((line.sessions as readonly SeenSession[]).map((session) => [session.id, session]));
    for (const id of new Set([...this.#standings.keys(), ...found.keys()])) this.#compare(id, found.get(id));
    for (const [id, until] of this.#cooled) {
      const availableAt = found.get(id)?.availableAt ?? 0;
      if (until > Number(line.now) && availableAt < until)
        this.#lost.push(`${id} cools until ${until}: ${availableAt}`);
    }
    for (const rejected of line.rejected as readonly object[]) this.#lost.push(JSON.stringify(rejected));
    this.#open = undefined;
  }

  #compare(id: string, session: SeenSession | undefined): void {
    if (id.startsWith("extra-") || this.#standings.has(id)) {
      const before = this.#standings.get(id) ?? GONE;
      const isWanted = this.#open?.id === id && isSame(this.#open as unknown as Standing, session);
      if (!isWanted && !isSame(before, session)) {
        this.#lost.push(`${id} is ${JSON.stringify(session)}, was ${JSON.stringify(before)}`);
      }
    }
    if (id.startsWith("extra-")) this.#standings.set(id, session ?? GONE);
  }

  async #checkFile(): Promise<void> {
    const { file } = this.#options;
    const engine: SqliteDriver = nodeDriver(file) ?? (await retryWhileBusy(() => keyvDriver(file)));
    try {
      const rows = await retryWhileBusy(() => engine.query("PRAGMA integrity_check"));
      const said = rows.map((row) => String(Object.values(row)[0]));
      if (said.join() !== "ok") this.#damages.push(...said);
    } finally {
      await engine.close();
    }
  }

  /** Told to the process before, in its last moment or when it was dead already. */
  #isUntold({ at, wait }: CallDuringWait, openedAt: number): boolean {
    const toldAt = wait.toldAt ?? wait.from;
    const killedAt = this.#killedAt.findLast((killed) => killed <= at);
    if (killedAt === undefined || openedAt < killedAt || toldAt > openedAt) return false;
    if (killedAt - toldAt > WRITES_WITHIN_MS) return false;
    // What was told after the call is of a wait that the call itself has met.
    const before = this.#told.filter((told) => told.id === wait.account && told.killedAt <= at);
    return !before.some(({ until }) => Math.abs(until - wait.until) < SAME_WAIT_MS);
  }
}

function isSame({ state, reason, tags }: Standing, session: Standing = GONE): boolean {
  return state === session.state && reason === session.reason && tags.join() === session.tags.join();
}
