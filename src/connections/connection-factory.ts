import { inOwnContext } from "../common/own-context.js";
import type { PoolTime } from "../common/pool-time.js";
import { ConnectError, OwnershipLostError } from "../errors.js";
import type { SessionPoolEvents } from "../events.js";
import type { PoolLog } from "../observability/pool-log.js";
import { type ClientProfile, isHost, secretsOf } from "../options/client-profile.js";
import type { ResolvedOptions } from "../options/options.js";
import type { ClaimHandle, Ownership } from "../ownership/ownership.js";
import type { PoolContext } from "../pool-context.js";
import type { RateLimiting } from "../rate-limits/rate-limiting.js";
import type { PooledSession } from "../state/pooled-session.js";
import { NO_BLOCKERS } from "../state/session-entry.js";
import type { SessionRegistry } from "../state/session-registry.js";
import type { SessionStateManager } from "../state/session-state.js";
import type { SessionTable } from "../state/session-table.js";
import type { PeerCacheWriter } from "../storage/peer-cache-writer.js";
import { parseSession } from "../telegram/session-string.js";
import { affectsSession, classifyTelegramError, type Verdict } from "../telegram/verdicts.js";
import type { ClientHandle } from "./client-adapter.js";
import { ConnectBackoff, isApplicationRefused } from "./connect-backoff.js";
import { Connection, SessionChangedError } from "./connection.js";
import { ConnectionPool } from "./connection-pool.js";
import type { HealthProbe } from "./health-probe.js";
import type { PersistentConnections } from "./persistent-connections.js";
import { redactError } from "./redact-error.js";
import { SessionRequestGate } from "./request-gate.js";

type ConnectionEvents = Pick<SessionPoolEvents, "connected" | "disconnected" | "backedOff">;

/** What making connections needs. */
export interface ConnectionFactoryDeps<Client> {
  readonly context: PoolContext<Client>;
  readonly options: ResolvedOptions<Client>;
  readonly log: Pick<PoolLog, "write">;
  readonly registry: SessionRegistry;
  readonly ownership: Ownership;
  readonly sessionTable: SessionTable<PooledSession>;
  readonly sessionState: SessionStateManager;
  readonly time: PoolTime;
  readonly peers: PeerCacheWriter;
  readonly persistentConnections: PersistentConnections;
  readonly healthProbe: HealthProbe;
  readonly budgets: RateLimiting | undefined;
  /** Resolves once the session's auth key is its own for good. */
  settleKey(known: PooledSession): Promise<unknown>;
  emit<Name extends keyof ConnectionEvents>(name: Name, event: Parameters<ConnectionEvents[Name]>[0]): void;
}

/** The connections of a pool, and the back-off of those that fail. */
export interface CreatedConnections<Client> {
  readonly connections: ConnectionPool<Client>;
  /** A connect took longer than its caller would wait: the session rests as after any failed connect. */
  backOff(id: string): void;
  readonly backOffs: ConnectBackoff;
}

/** What one client was made with: what is said of it holds for a session that has another key by now no longer. */
interface MadeWith {
  readonly known: PooledSession;
  readonly fingerprint: string;
  readonly profile: ClientProfile;
}

/** Makes the connections of a pool: each with its gate, its client and its back-off. */
export function createConnections<Client>(parts: ConnectionFactoryDeps<Client>): CreatedConnections<Client> {
  const { clock, maxConnected, idleTimeoutMs, connectTimeoutMs } = parts.options;
  const limits = { clock, maxConnected, idleTimeoutMs, connectTimeoutMs };
  const { sessionTable, registry } = parts;
  const backOffs = new ConnectBackoff(parts.context, sessionTable);
  const connections: ConnectionPool<Client> = new ConnectionPool<Client>(limits, (id) => {
    const known = registry.get(id);
    if (known === undefined) throw new ConnectError(`Session "${id}" is gone.`, { sessionId: id });
    const made: MadeWith = { known, fingerprint: known.fingerprint, profile: known.credentials.profile };
    try {
      return inOwnContext(() => createConnection(parts, made, backOffs));
    } catch (error) {
      throw connectFailed(parts, made, backOffs, error);
    }
  });
  const backOff = (id: string): void => {
    const known = registry.get(id);
    if (known !== undefined) backOffs.backOff(known);
  };
  return { connections, backOff, backOffs };
}

function createConnection<Client>(
  parts: ConnectionFactoryDeps<Client>,
  made: MadeWith,
  backOffs: ConnectBackoff,
): Connection<Client> {
  const { known, profile } = made;
  const { id } = known;
  const { options } = parts;
  const { clock, connectTimeoutMs } = options;
  // A client may also go that was never connected, or that was lost before, under a lease.
  const lookAgain = (): void => queueMicrotask(() => parts.persistentConnections.ensure(id));
  // The gate, the client and the connection know each other: the last one is looked up when it is needed.
  const connection: Connection<Client> = new Connection(
    id,
    options.client.create({
      id,
      session: parseSession(known.credentials.reveal()),
      profile,
      gate: createRequestGate(parts, made, () => connection),
      clock,
      peers: parts.peers.for(id),
      connectTimeoutMs,
      onDisconnect: (reason) => connection.lost(reason),
    }),
    {
      clock,
      // Whoever changes the profile has the connection replaced.
      isPersistent: parts.persistentConnections.isPersistent(id),
      connectTimeoutMs,
      hasCurrentKey: () => hasItsKey(parts, made),
      route: throughProxy(profile),
      refusal: () => connectRefusal(parts, made, backOffs),
      claim: () => claim(parts, known, backOffs),
      closed: () => {
        if (known.connection === connection) known.connection = undefined;
        void parts.ownership.release(id);
        lookAgain();
      },
      connected: () => {
        backOffs.connected(known, profile);
        updateSessionTable(parts, id, true);
        parts.emit("connected", { id });
      },
      disconnected: (reason) => {
        updateSessionTable(parts, id, false);
        parts.emit("disconnected", { id, reason });
        lookAgain();
      },
      connectFailed: (error) => connectFailed(parts, made, backOffs, error),
      closeFailed: (error) => {
        const { message } = withoutSecrets(profile, error);
        const text = `The client of session "${id}" could not be closed, and counts as gone: ${message}.`;
        parts.log.write("warn", text, { event: "closeFailed", sessionId: id, reason: message });
      },
    },
  );
  known.connection = connection;
  return connection;
}

/** Whether the session still has the key that the client was made with. */
function hasItsKey(
  { registry }: Pick<ConnectionFactoryDeps<unknown>, "registry">,
  { known, fingerprint }: MadeWith,
): boolean {
  return known.fingerprint === fingerprint && registry.get(known.id) === known;
}

function updateSessionTable<Client>(
  { sessionTable, time }: ConnectionFactoryDeps<Client>,
  id: string,
  isConnected: boolean,
): void {
  const entry = sessionTable.get(id);
  if (entry !== undefined) sessionTable.setConnected(entry, isConnected, time.now());
}

function createRequestGate<Client>(
  parts: ConnectionFactoryDeps<Client>,
  made: MadeWith,
  connection: () => Connection<Client>,
): SessionRequestGate {
  const { options, sessionTable, time, budgets } = parts;
  const { id } = made.known;
  const handle = (): ClientHandle<Client> => connection().handle;
  return new SessionRequestGate({
    clock: options.clock,
    callTimeoutMs: options.callTimeoutMs,
    inlineWaitMs: options.inlineWaitMs,
    now: () => time.now(),
    hold: ({ method, peer }) => {
      const entry = sessionTable.get(id);
      return entry && sessionTable.blockingCooldown(entry, method, peer, time.now());
    },
    isCooling: ({ method, peer }) => {
      const { cooldowns } = sessionTable.get(id) ?? NO_BLOCKERS;
      return cooldowns.blockingTelegramCooldown([method], peer === undefined ? [] : [peer], time.now()) !== undefined;
    },
    tryAdmit: (request) => budgets?.tryAdmit(id, request) ?? true,
    settled: (request, isGranted) => budgets?.onCompleted(id, request, isGranted),
    fatal: () =>
      (parts.healthProbe.isProbing(id) ? undefined : parts.sessionState.fatal(id)) ??
      (parts.ownership.isHeld(id) ? undefined : ownershipLost(id)),
    onVerdict: (error, verdict, request) => {
      budgets?.onRejected(id, request, verdict);
      return parts.sessionState.applyVerdict(id, error, verdict, request, hasItsKey(parts, made));
    },
    isConnected: () => connection().isConnected && !parts.ownership.needsRevalidation(id),
    ensureConnected: async () => {
      if ((await parts.ownership.claim(id)) === undefined) throw ownershipLost(id);
      await connection().ensure();
    },
    floodError: (notice, request) => handle().floodError(notice, request),
    unanswered: () => {
      connection().markStale("a request was not answered");
    },
  });
}

/**
 * Nothing connects while it rests, neither to a cooldown nor to a back-off, nor when it is not to be used at all, nor with
 * a key that the session does not have any more.
 */
function connectRefusal<Client>(
  parts: ConnectionFactoryDeps<Client>,
  made: MadeWith,
  backOffs: ConnectBackoff,
): Error | undefined {
  const { sessionTable, time, healthProbe } = parts;
  const { id } = made.known;
  if (!hasItsKey(parts, made)) return new SessionChangedError(`"${id}" has another auth key.`);
  const entry = sessionTable.get(id);
  const isWanted = entry?.canEverServe || (healthProbe.isProbing(id) && entry?.disabledReason === null);
  if (entry === undefined || !isWanted) return new SessionChangedError(`"${id}" is not to be used.`);
  const rests = entry.unavailableUntil > time.now() || backOffs.isStopped(entry);
  return rests ? new SessionChangedError(`"${id}" rests.`) : undefined;
}

async function claim<Client>(
  parts: ConnectionFactoryDeps<Client>,
  known: PooledSession,
  backOffs: ConnectBackoff,
): Promise<ClaimHandle> {
  const { id } = known;
  const hold = await parts.ownership.claim(id);
  if (hold !== undefined) {
    await parts.settleKey(known);
    return hold;
  }
  // Whatever the reason: as long as the roster does not know one, the session would be taken again at once, for ever.
  if (known.canEverServe && !known.isForeign) backOffs.backOff(known);
  throw new SessionChangedError(`"${id}" is another process's.`);
}

/** What everybody gets who uses a session that is not this process's any more. */
export function ownershipLost(id: string): OwnershipLostError {
  return new OwnershipLostError(
    `Session "${id}" was lost: its claim could not be renewed in time, or another process took it. What was sent may have taken effect.`,
    { sessionId: id },
  );
}

/** Telegram's verdict changes the session's state; anything else is a back-off. Of a former key neither is to be had. */
function connectFailed<Client>(
  parts: ConnectionFactoryDeps<Client>,
  made: MadeWith,
  backOffs: ConnectBackoff,
  error: unknown,
): Error {
  const { known, profile } = made;
  const { id } = known;
  const verdict = classifyTelegramError(error);
  const isOfItsKey = hasItsKey(parts, made);
  parts.sessionState.applyVerdict(id, error, verdict, undefined, isOfItsKey);
  if (!isOfItsKey) return new SessionChangedError(`"${id}" has another auth key.`);
  if (affectsSession(verdict) && error instanceof Error) return error;
  const told = error instanceof ConnectError ? error : connectError(id, profile, error, verdict);
  backOffs.failed(known, profile, error, verdict, told);
  return told;
}

function connectError(id: string, profile: ClientProfile, error: unknown, verdict: Verdict): ConnectError {
  const cause = withoutSecrets(profile, error);
  const whose = profile.apiId === undefined ? "the client adapter" : "the session's profile";
  const why = isApplicationRefused(verdict)
    ? `Telegram refuses the application (${verdict.code}), so no session can connect with it. Check apiId and apiHash of ${whose}, for instance gramjs({ apiId, apiHash }) or teleproto({ apiId, apiHash }): both are from my.telegram.org, and one that is published in other programs may be blocked.`
    : `${cause.message}.`;
  return new ConnectError(`Session "${id}" could not connect${throughProxy(profile)}: ${why}`, {
    cause,
    sessionId: id,
  });
}

/** What a message says of the proxy that is in between; never its user name or password. */
function throughProxy({ proxy }: ClientProfile): string {
  // Somebody may have put a whole URL there, with a password in it.
  if (proxy === undefined || !isHost(proxy.ip)) return proxy === undefined ? "" : " through its proxy";
  return ` through its proxy ${proxy.ip}:${proxy.port}`;
}

function withoutSecrets(profile: ClientProfile, error: unknown): Error {
  return redactError(error, secretsOf(profile));
}
