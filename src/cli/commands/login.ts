import { OptionsError } from "../../errors.js";
import { type LoginResult, login } from "../../login/index.js";
import { checkAddArguments, isShowableId } from "../../options/validate.js";
import type { SessionPool } from "../../session-pool.js";
import { createClientAdapter } from "../client-library.js";
import {
  CLIENT_OPTIONS,
  CONFIRM_OPTIONS,
  type Command,
  type CommandContext,
  CommandError,
  STORAGE_OPTIONS,
  UsageError,
} from "../command.js";
import { PROGRAM } from "../command-line.js";
import { accountOf, onlyAccount } from "../expected-account.js";
import { phonePrompts, qrPrompts } from "../login-prompts.js";
import { NotStoredError, withPool } from "../pools.js";
import { Prompt } from "../prompt.js";
import { isPhoneNumber } from "../shown.js";
import { printable } from "../table.js";

/** `login`: signs an account in, and adds it. */
export const loginCommand: Command = {
  usage: "[ID] [--phone] [--replace] [--yes]",
  description:
    "Signs an account in and adds it to the storage: with a QR code that its phone scans, or with --phone by the phone number and a code. The password of the two-step verification is asked for when there is one. Without ID the account is named by its user id.",
  options: {
    ...STORAGE_OPTIONS,
    ...CLIENT_OPTIONS,
    ...CONFIRM_OPTIONS,
    phone: { type: "boolean", description: "sign in with the phone number and a code" },
    replace: {
      type: "boolean",
      description: "give an account that is there the new session; that of another account is refused",
    },
  },
  positionals: { min: 0, max: 1 },
  example: "telegram-session-pool login alice",
  async run(context) {
    const { settings } = context;
    const client = await createClientAdapter(settings);
    const [id] = context.arguments.positionals;
    const isReplaced = context.arguments.flag("replace");
    // The storage is opened first, so that no session is created that could not be stored.
    const work = withPool(
      context,
      client,
      async (pool) => {
        assertFree(pool, id, context.arguments);
        const expected = id !== undefined && isReplaced ? await replacedAccount(pool, id, context) : undefined;
        const signing = expected === undefined ? client : onlyAccount(client, expected);
        const { session, accountId } = await signIn(signing, context);
        const name = id ?? freeName(pool, accountId);
        await keep(pool, name, { session, accountId }, isReplaced);
        return { text: `${name} is signed in (account ${accountId}).`, json: { id: name, accountId } };
      },
      { mayCreate: true },
    );
    return work.catch((error: unknown) => {
      throw error instanceof NotStoredError && isReplaced ? signedInOnly(error) : error;
    });
  },
};

/**
 * The account whose session is replaced; `undefined` for any. Without its id a person has to agree: the account that signs
 * in gets the name, the tags and the profile of the one before.
 */
async function replacedAccount(
  pool: SessionPool<unknown>,
  id: string,
  { arguments: given, terminal, signal }: CommandContext,
): Promise<string | undefined> {
  const accountId = await accountOf(pool, id, signal);
  if (accountId !== undefined || given.flag("yes")) return accountId;
  const question = `Telegram does not say which account "${printable(id)}" is. Replace it by whichever signs in?`;
  if (await new Prompt(terminal, signal).confirm(question)) return undefined;
  throw new CommandError("Nothing was changed.");
}

async function signIn(client: Parameters<typeof login>[0], { terminal, signal, arguments: given }: CommandContext) {
  if (given.flag("phone")) return login(client, phonePrompts(terminal, signal));
  const { QrView } = await import("../qr-view.js");
  const view = new QrView(terminal);
  try {
    return await login(client, qrPrompts(terminal, signal, view));
  } finally {
    view.end();
  }
}

/** Throws for an id under which the session could not be stored, before anyone signs in. */
function assertFree(pool: SessionPool<unknown>, id: string | undefined, given: CommandContext["arguments"]): void {
  if (id === undefined) return;
  const isThere = pool.get(id) !== undefined;
  const isReplaced = given.flag("replace");
  if (!isThere) assertUsable(id, given.flag("phone"));
  const rejection = pool.rejected().find((record) => record.id === id);
  if (rejection !== undefined) {
    throw new CommandError(
      `There is a record "${id}" that cannot be read: ${rejection.reason} Choose another id, or remove it: "${PROGRAM} remove ID".`,
    );
  }
  if (isThere && !isReplaced) {
    throw new CommandError(`There is an account "${id}" already: choose another id, or add --replace.`);
  }
  if (!isThere && isReplaced) throw new CommandError(`There is no account "${id}" whose session could be replaced.`);
}

/** Throws `UsageError` for what `add` would refuse as an id, and for a phone number. */
function assertUsable(id: string, isByPhone: boolean): void {
  if (isPhoneNumber(id) || (isByPhone && /^\d{9,}$/.test(id))) {
    throw new UsageError("The ID is a phone number. The number is asked for; it belongs in no command line.");
  }
  if (!isShowableId(id)) {
    throw new UsageError(`The ID is a session string: a file that holds it is added by "${PROGRAM} import FILE".`);
  }
  try {
    checkAddArguments(id, {});
  } catch (error) {
    if (!(error instanceof OptionsError)) throw error;
    throw new UsageError(error.message.replace(/^add: ./, (start) => start.slice(-1).toUpperCase()));
  }
}

function freeName(pool: SessionPool<unknown>, accountId: string): string {
  const rejected = new Set(pool.rejected().map(({ id }) => id));
  let name = accountId;
  for (let number = 2; pool.get(name) !== undefined || rejected.has(name); number++) name = `${accountId}-${number}`;
  return name;
}

async function keep(
  pool: SessionPool<unknown>,
  id: string,
  { session, accountId }: LoginResult,
  isReplaced: boolean,
): Promise<void> {
  try {
    if (isReplaced) await pool.update(id, { session });
    else {
      // Unlike add(), it takes the user id, which is then known before the first connect.
      const { refused } = await pool.addMany([{ id, session, accountId }]);
      if (refused[0] !== undefined) throw refused[0].error;
    }
  } catch (error) {
    throw signedInOnly(error);
  }
}

/** The new session exists at Telegram and nowhere else. */
function signedInOnly(error: unknown): CommandError {
  const reason = error instanceof Error ? error.message : String(error);
  return new CommandError(
    `The account is signed in, but its session could not be stored: ${reason} End it in Telegram (Settings, Devices), then try "${PROGRAM} login" again.`,
    { cause: error },
  );
}
