import type { ClientAdapter } from "../connections/client-adapter.js";
import type { SignInClient, TelegramObject } from "../connections/sign-in-client.js";
import { OptionsError } from "../errors.js";
import type { SessionPool } from "../session-pool.js";
import { parseSession } from "../telegram/session-string.js";
import { CommandError } from "./command.js";

/**
 * The account id of a stored session: the session string holds it, or Telegram is asked with that session. `undefined`
 * when neither says it, as for a session that has ended.
 */
export async function accountOf(
  pool: SessionPool<unknown>,
  id: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { userId } = parseSession(await pool.exportSession(id));
  if (userId !== undefined) return String(userId);
  const { accountId } = await pool.check(id, { signal });
  return accountId ?? undefined;
}

/**
 * The adapter, with which only one account can sign in: the login of any other one fails with `CommandError` before it
 * has a session, so that its key is signed out again.
 */
export function onlyAccount<Client>(client: ClientAdapter<Client>, accountId: string): ClientAdapter<Client> {
  return {
    open: () => client.open(),
    checkProfile: (call, profile) => client.checkProfile?.(call, profile),
    create: (request) => client.create(request),
    invoke: (connected, request) => client.invoke(connected, request),
    createSignIn(options) {
      if (client.createSignIn === undefined) throw new OptionsError("login: the client adapter cannot sign in.");
      return checked(client.createSignIn(options), accountId);
    },
  };
}

function checked(client: SignInClient, accountId: string): SignInClient {
  return {
    get dcId() {
      return client.dcId;
    },
    connect: (signal, dcId) => client.connect(signal, dcId),
    async call(method, fields) {
      const answer = await client.call(method, fields);
      const signedIn = signedInAccount(answer);
      if (signedIn === undefined || signedIn === accountId) return answer;
      throw new CommandError(
        `Another account has signed in: ${signedIn}, not ${accountId}. It was signed out again, and nothing was changed. Without --replace it is added under an id of its own.`,
      );
    },
    application: () => client.application(),
    session: () => client.session(),
    close: () => client.close(),
  };
}

/** The user id in an `auth.Authorization`, which the answer to a login token wraps. */
function signedInAccount(answer: TelegramObject): string | undefined {
  const authorization = Object(answer.className === "auth.LoginTokenSuccess" ? answer.authorization : answer);
  if (authorization.className !== "auth.Authorization") return undefined;
  return String(Reflect.get(Object(authorization.user), "id"));
}
