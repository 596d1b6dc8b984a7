import { createClientAdapter } from "../client-library.js";
import { CLIENT_OPTIONS, type Command, CommandError, STORAGE_OPTIONS } from "../command.js";
import { askPassword } from "../login-prompts.js";
import { assertKnown, withPool } from "../pools.js";
import { Prompt } from "../prompt.js";

/** How long an account is waited for that another process has connected, or that cools. */
const WAIT_MS = 60_000;

/** `duplicate`: a second session of an account. */
export const duplicateCommand: Command = {
  usage: "ID NEWID",
  description:
    "Makes a second session of an account, with a key of its own, approved by the first one: so that two programs can use the account at the same time. The password of the two-step verification is asked for when there is one.",
  options: { ...STORAGE_OPTIONS, ...CLIENT_OPTIONS },
  positionals: { min: 2, max: 2 },
  example: "telegram-session-pool duplicate alice alice-laptop",
  async run(context) {
    const { terminal, signal, settings } = context;
    const [id = "", newId = ""] = context.arguments.positionals;
    const client = await createClientAdapter(settings);
    return withPool(context, client, async (pool) => {
      assertKnown(pool, [id]);
      if (pool.get(newId) !== undefined) throw new CommandError(`There is an account "${newId}" already.`);
      const prompt = new Prompt(terminal, signal);
      const added = await pool.duplicate(id, newId, {
        password: (hint, attempt) => askPassword(hint, attempt, prompt, terminal),
        wait: WAIT_MS,
        signal,
      });
      return { text: `${added.id} is a second session of ${id}.`, json: { id: added.id, of: id } };
    });
  },
};
