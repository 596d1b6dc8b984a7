import { unknownSessionError, unreadableRecordError } from "../error-factories.js";
import { DuplicateSessionError, LoginError, OptionsError, StorageError } from "../errors.js";
import { createJob, type JobRunner } from "../jobs/job-runner.js";
import type { ResolvedProfile } from "../options/client-profile.js";
import type { AddOptions, DuplicateOptions } from "../options/options.js";
import { checkDuplicateArguments, resolveProfile } from "../options/validate.js";
import type { PoolContext } from "../pool-context.js";
import type { PoolLifecycle } from "../pool-lifecycle.js";
import type { SessionInfo } from "../session-info.js";
import type { SessionAdmin } from "../sessions/session-admin.js";
import type { PooledSession } from "../state/pooled-session.js";
import type { SessionRegistry } from "../state/session-registry.js";
import { decodeRecord } from "../storage/record.js";
import type { StoredRecord } from "../storage/storage.js";
import { StorageTimeout } from "../storage/storage-timeout.js";
import { authKeyFingerprint, parseSession } from "../telegram/session-string.js";
import { exportLoginToken } from "./login-token.js";
import type { PasswordPrompt } from "./password.js";
import { refusedError, type SignedIn, SignIn } from "./sign-in.js";

/** What the duplication of a session works with. */
export interface DuplicateParts<Client> {
  readonly context: PoolContext<Client>;
  readonly lifecycle: PoolLifecycle;
  readonly registry: SessionRegistry;
  readonly jobRunner: JobRunner<Client>;
  readonly admin: SessionAdmin;
}

const METHOD = "auth.AcceptLoginToken";
/** How long Telegram may take to tell the new client that its token was accepted, and how often it is asked. */
const ACCEPTED_WITHIN_MS = 2_000;
const MOST_EXPORTS = 5;

/** The ids that are being made, by the sessions of a pool. */
const idsInProgress = new WeakMap<SessionRegistry, Set<string>>();

/**
 * Signs a second session of an account in, approved by the first: a new client exports a login token, the pooled session
 * accepts it over a lease, and the new key is added under an id of its own once Telegram has let it in. When anything
 * fails the new key is signed out again, unless the storage may hold its record.
 *
 * Source: core.telegram.org/api/qr-login.
 */
export async function duplicateSession<Client>(
  parts: DuplicateParts<Client>,
  id: string,
  newId: string,
  options: DuplicateOptions,
): Promise<SessionInfo> {
  checkDuplicateArguments(id, newId, options);
  const original = parts.registry.getVisible(id);
  if (original === undefined) throw unknownSessionError(id);
  const ids = idsInProgress.get(parts.registry) ?? new Set();
  idsInProgress.set(parts.registry, ids);
  if (ids.has(newId)) throw takenError(newId);
  ids.add(newId);
  try {
    await assertFree(parts, newId);
    return await signInAndAdd(parts, original, newId, options);
  } finally {
    ids.delete(newId);
  }
}

/** Throws if the id is taken, in this process or in the storage; nothing has been sent then. */
async function assertFree<Client>(parts: DuplicateParts<Client>, newId: string): Promise<void> {
  const { registry } = parts;
  const rejection = registry.rejection(newId);
  if (rejection !== undefined) throw unreadableRecordError(newId, rejection);
  if (registry.get(newId) !== undefined) throw takenError(newId);
  if ((await readRecord(parts, newId)) !== undefined) throw takenError(newId);
}

function readRecord<Client>({ context }: DuplicateParts<Client>, id: string): Promise<StoredRecord | undefined> {
  const { storage, storageTimeoutMs } = context.options;
  const timeout = new StorageTimeout(context.clock, storageTimeoutMs);
  return timeout.run(`read the record of "${id}"`, () => storage.read(id));
}

async function signInAndAdd<Client>(
  parts: DuplicateParts<Client>,
  original: PooledSession,
  newId: string,
  options: DuplicateOptions,
): Promise<SessionInfo> {
  const { context, lifecycle } = parts;
  const { client, connectTimeoutMs, callTimeoutMs } = context.options;
  const profile = resolveProfile("duplicate", options.profile ?? inheritedProfile(original.credentials.profile));
  client.checkProfile?.("duplicate", profile);
  const signal = AbortSignal.any([lifecycle.closing, ...(options.signal === undefined ? [] : [options.signal])]);
  const address = parseSession(original.credentials.reveal());
  const signInOptions = { profile, clock: context.clock, connectTimeoutMs, callTimeoutMs, address };
  const signIn = new SignIn(client, signInOptions, signal, "duplicate");
  try {
    await approve(parts, signIn, original.id, options, signal);
    const { session } = await complete(signIn, options.password);
    signal.throwIfAborted();
    // Once the session is added any process of this storage may connect it: one key, one connection.
    await signIn.disconnect();
    const info = await add(parts, newId, session, { tags: options.tags ?? original.tags, profile }, original);
    await signIn.close();
    return info;
  } catch (error) {
    if (error instanceof KeptKeyError) {
      await signIn.close();
      throw error.storageError;
    }
    await signIn.giveUp();
    throw error;
  }
}

/** Carries the error of an addition whose record may be stored: the key stays signed in. */
class KeptKeyError extends Error {
  readonly storageError: StorageError;

  constructor(storageError: StorageError) {
    super(storageError.message);
    this.storageError = storageError;
  }
}

/** Adds the new session. Throws `KeptKeyError` if the storage failed and may hold its record nevertheless. */
async function add<Client>(
  parts: DuplicateParts<Client>,
  newId: string,
  session: string,
  options: AddOptions,
  { accountId, isBot }: PooledSession,
): Promise<SessionInfo> {
  try {
    const account = { accountId: accountId ?? undefined, isBot: isBot ?? undefined };
    return (await parts.admin.add(newId, session, options, account)).info;
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    const isStored = await holdsKey(parts, newId, authKeyFingerprint(parseSession(session).authKey)).catch(() => null);
    if (isStored === false) throw error;
    throw new KeptKeyError(keptKeyError(newId, isStored, error));
  }
}

/** Whether the record of the id is stored with this auth key. Rejects if it cannot be read. */
async function holdsKey<Client>(parts: DuplicateParts<Client>, id: string, fingerprint: string): Promise<boolean> {
  const stored = await readRecord(parts, id);
  return stored !== undefined && decodeRecord(stored.data).fingerprint === fingerprint;
}

function keptKeyError(newId: string, isStored: boolean | null, cause: StorageError): StorageError {
  const record = isStored
    ? "Its record was written nevertheless"
    : "Whether its record was written nevertheless cannot be read";
  return new StorageError(
    `duplicate: the storage failed while "${newId}" was added: ${cause.message} ${record}, so its auth key stays signed in. Open the pool again once the storage works: "${newId}" is in it if its record was written; if not, end that login in Telegram's Settings → Devices.`,
    { sessionId: newId, cause },
  );
}

/** Has the pooled session accept a token of the new client: over a lease, as every request of it. */
async function approve<Client>(
  { context, jobRunner }: DuplicateParts<Client>,
  signIn: SignIn,
  id: string,
  { wait }: DuplicateOptions,
  signal: AbortSignal,
): Promise<void> {
  const { client } = context.options;
  const { createRequest } = client;
  if (createRequest === undefined) {
    throw new OptionsError("duplicate: the client adapter has no createRequest().");
  }
  const accept = async (leased: Client): Promise<void> => {
    const token = await exportFirstToken(signIn).catch((error: unknown) => {
      throw refusedError(error);
    });
    await client.invoke(leased, createRequest(METHOD, { token }));
  };
  await jobRunner.run(createJob(accept, { id, wait, method: METHOD, retry: "none", maxAttempts: 1, signal }));
}

async function exportFirstToken(signIn: SignIn): Promise<Buffer> {
  await signIn.connect();
  const exported = await exportLoginToken(signIn, undefined);
  if ("token" in exported) return exported.token;
  throw new LoginError("LOGIN_REFUSED", "Telegram signed the new key in before it was approved.");
}

/** Completes the login of the new client after the approval. */
async function complete(signIn: SignIn, password: PasswordPrompt | undefined): Promise<SignedIn> {
  try {
    for (let exports = 0; exports < MOST_EXPORTS; exports++) {
      const exported = await exportLoginToken(signIn, password);
      if (!("token" in exported)) return exported;
      await signIn.loginTokenAccepted(ACCEPTED_WITHIN_MS);
    }
  } catch (error) {
    throw refusedError(error);
  }
  const message = "Telegram did not sign the new session in, although the first one approved it. Try again.";
  throw new LoginError("LOGIN_REFUSED", message);
}

/** The profile of the first session without `keepConnected`: only one of them needs to listen. */
function inheritedProfile({ keepConnected: _, ...profile }: ResolvedProfile): ResolvedProfile {
  return profile;
}

function takenError(id: string): DuplicateSessionError {
  return new DuplicateSessionError(
    `duplicate: there is a session "${id}" already. Choose another id; nothing was sent.`,
    {
      sessionId: id,
    },
  );
}
