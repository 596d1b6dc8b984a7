import type { CodeAnswer, LoginPrompts, SentCode } from "../login/index.js";
import { Prompt } from "./prompt.js";
import type { QrView } from "./qr-view.js";
import { printable } from "./table.js";
import type { Terminal } from "./terminal.js";
import { durationText } from "./time-text.js";

/** How a code reaches the account, in words. */
const WAYS: Readonly<Record<string, string>> = {
  app: "as a message in Telegram, to the devices where the account is signed in",
  sms: "by SMS",
  call: "by a phone call",
  flashCall: "by a phone call whose number is the code",
  missedCall: "by a missed call: the code is the end of its number",
  fragmentSms: "to fragment.com, where anonymous numbers are sold",
  emailCode: "by mail",
};

/** What a person is asked who signs in with a phone number. */
export function phonePrompts(terminal: Terminal, signal: AbortSignal): LoginPrompts {
  const prompt = new Prompt(terminal, signal);
  return {
    phone: async (attempt) => {
      if (attempt > 1) terminal.note("Telegram knows no such number.");
      return prompt.ask("Phone number, with the country code: ");
    },
    code: (sent) => askCode(sent, prompt, terminal),
    password: (hint, attempt) => askPassword(hint, attempt, prompt, terminal),
    signal,
  };
}

/** What a person is shown and asked who signs in with a QR code. */
export function qrPrompts(terminal: Terminal, signal: AbortSignal, view: QrView): LoginPrompts {
  const prompt = new Prompt(terminal, signal);
  return {
    qr: (url, expiresAt) => view.show(url, expiresAt),
    password: (hint, attempt) => {
      view.end();
      return askPassword(hint, attempt, prompt, terminal);
    },
    signal,
  };
}

/** Asks for the password of the two-step verification; it is not echoed. */
export function askPassword(hint: string | null, attempt: number, prompt: Prompt, terminal: Terminal): Promise<string> {
  if (attempt > 1) terminal.note("The password is wrong.");
  const about = hint === null || hint === "" ? "" : ` (hint: ${printable(hint)})`;
  return prompt.askSecret(`Password of the two-step verification${about}: `);
}

async function askCode(sent: SentCode, prompt: Prompt, terminal: Terminal): Promise<CodeAnswer> {
  const { via, length, nextVia, resendAfterSeconds, retryReason } = sent;
  if (retryReason === "invalid") terminal.note("The code is wrong.");
  if (retryReason === "notResent") terminal.note("Telegram does not send it in another way.");
  if (retryReason === "expired") terminal.note("The code is too old: Telegram has sent a new one.");
  if (retryReason !== "invalid" && retryReason !== "notResent") terminal.note(`The code was sent ${wayOf(via)}.`);
  const digits = length === null ? "" : ` (${length} digits)`;
  const wait = resendAfterSeconds === null ? "" : `, after ${durationText(resendAfterSeconds * 1_000)}`;
  const resend = nextVia === null ? "" : `, or r to have it sent ${wayOf(nextVia)}${wait}`;
  const answer = (await prompt.ask(`Code${digits}${resend}: `)).trim();
  return nextVia !== null && /^r$/i.test(answer) ? { resend: true } : answer;
}

function wayOf(via: string): string {
  return WAYS[via] ?? `by "${printable(via)}"`;
}
