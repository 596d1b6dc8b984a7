import type { Budget } from "./budgets.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/**
 * Sends. Telegram publishes numbers for bots only: in one chat not more than one message a second, in one group not
 * more than 20 a minute (core.telegram.org/bots/faq, "My bot is hitting limits"). For users there is no official number;
 * these halve the bots' ones. They do not keep anybody from PEER_FLOOD, which is about whom one writes to, not how fast.
 */
const SEND: Budget = { calls: 10, perMs: MINUTE_MS, perPeer: { calls: 1, perMs: 1_000 } };

/** Careful limits to begin with, for `SessionPool.open({ budgets })`. Spread them to change one. */
export interface Presets {
  /**
   * For the methods that are known to bite. None of these is an official number: Telegram says that there is none to
   * rely on (levlam, tdlib/td#396: "Limits are subject to change based on a lot of unpredictable events").
   */
  readonly conservative: Readonly<Record<ConservativeMethod, Budget>>;
}

/** The methods that `conservative` limits. */
export type ConservativeMethod =
  | "contacts.ResolveUsername"
  | "messages.GetDialogs"
  | "channels.JoinChannel"
  | "messages.ImportChatInvite"
  | "messages.SendMessage"
  | "messages.SendMedia"
  | "messages.SendMultiMedia"
  | "messages.ForwardMessages";

/** See {@link Presets}. */
export const presets: Presets = Object.freeze({
  conservative: Object.freeze({
    /**
     * Field reports, no official number: 160 and more in a row brought floods of 15 to 18 hours, and 30 a minute was
     * believed to be the limit (axisrow/tg_content_factory#551); floods of a day (LonamiWebs/Telethon#494). Five a
     * minute are a sixth of what was believed.
     */
    "contacts.ResolveUsername": { calls: 5, perMs: MINUTE_MS },
    /**
     * Field reports, no official number: a poll every second was flooded after two or three calls
     * (sochix/TLSharp#952); reading all dialogs page by page ends in waits of some 25 to 30 s (pyrogram/pyrogram#749,
     * GeiserX/Telegram-Archive#295).
     */
    "messages.GetDialogs": { calls: 5, perMs: 30_000 },
    /**
     * Field reports, no official number: waits of some 350 s for a few joins (Freddywhest/DropWizard#2), of 70,000 s
     * after an hour of joining towards 200 groups (surfranch/TelegramShillBot#30).
     */
    "channels.JoinChannel": { calls: 5, perMs: HOUR_MS },
    /** Joins by invitation, as `channels.JoinChannel`; no report of its own. */
    "messages.ImportChatInvite": { calls: 5, perMs: HOUR_MS },
    "messages.SendMessage": SEND,
    "messages.SendMedia": SEND,
    "messages.SendMultiMedia": SEND,
    "messages.ForwardMessages": SEND,
  }),
});
