import type { Budget } from "./budgets.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/**
 * Sending. Telegram publishes limits for bots only: one message per second in a chat, 20 per minute in a group
 * (core.telegram.org/bots/faq, "My bot is hitting limits"). For users there are no official limits; these are half of the
 * bots'. They do not prevent PEER_FLOOD, which depends on the recipients, not on the rate.
 */
const SEND: Budget = { calls: 10, perMs: MINUTE_MS, perPeer: { calls: 1, perMs: 1_000 } };

/** Cautious rate limits to start with, for `SessionPool.open({ budgets })`. To change one, spread them. */
export interface Presets {
  /**
   * For the methods that are known to flood quickly. None of these limits is official, as there are no reliable ones
   * (levlam, tdlib/td#396: "Limits are subject to change based on a lot of unpredictable events").
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
     * Field reports, no official limit: 160 and more in a row caused flood waits of 15 to 18 hours, and 30 per minute were
     * believed to be the limit (axisrow/tg_content_factory#551); waits of a day (LonamiWebs/Telethon#494). Five per minute
     * are a sixth of that.
     */
    "contacts.ResolveUsername": { calls: 5, perMs: MINUTE_MS },
    /**
     * Field reports, no official limit: polling every second caused a flood wait after two or three calls
     * (sochix/TLSharp#952); reading all dialogs page by page causes waits of 25 to 30 s (pyrogram/pyrogram#749,
     * GeiserX/Telegram-Archive#295).
     */
    "messages.GetDialogs": { calls: 5, perMs: 30_000 },
    /**
     * Field reports, no official limit: waits of about 350 s after a few joins (Freddywhest/DropWizard#2), of 70,000 s
     * after an hour of joining some 200 groups (surfranch/TelegramShillBot#30).
     */
    "channels.JoinChannel": { calls: 5, perMs: HOUR_MS },
    /** Joining by invitation, like `channels.JoinChannel`; there are no reports about it. */
    "messages.ImportChatInvite": { calls: 5, perMs: HOUR_MS },
    "messages.SendMessage": SEND,
    "messages.SendMedia": SEND,
    "messages.SendMultiMedia": SEND,
    "messages.ForwardMessages": SEND,
  }),
});
