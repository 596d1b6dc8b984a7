import type { TlObject } from "./library.js";

/** A message in a conversation. */
export interface StoredMessage {
  readonly id: number;
  /** Seconds since the epoch, as Telegram counts. */
  readonly date: number;
  /** The user who sent it. */
  readonly fromId: number;
  readonly text: string;
  readonly media: TlObject | null;
  /** Seconds since the epoch of its last edit. */
  readonly editedAt: number | null;
}

/** Conversations keep their newest messages only. */
const MESSAGES_KEPT = 1_000;

interface Conversation {
  messages: StoredMessage[];
}

/** What was said. A channel is one conversation for everybody, a dialog with a user is the account's own. */
export class Chats {
  readonly #conversations = new Map<string, Conversation>();
  /** Ids count per channel, and per account over all of its dialogs. */
  readonly #lastIds = new Map<string, number>();

  /** Adds a message. */
  post(account: string, peer: string, fromId: number, text: string, media: TlObject | null): StoredMessage {
    const counter = counterOf(account, peer);
    const id = (this.#lastIds.get(counter) ?? 0) + 1;
    this.#lastIds.set(counter, id);
    const message = { id, date: Math.floor(Date.now() / 1000), fromId, text, media, editedAt: null };
    const { messages } = this.#of(account, peer);
    messages.push(message);
    if (messages.length >= 2 * MESSAGES_KEPT) messages.splice(0, messages.length - MESSAGES_KEPT);
    return message;
  }

  /** The newest messages below `beforeId` (0: all), newest first. */
  recent(account: string, peer: string, limit: number, beforeId: number): readonly StoredMessage[] {
    const { messages } = this.#of(account, peer);
    const older = beforeId === 0 ? messages : messages.filter((message) => message.id < beforeId);
    return older.slice(-Math.max(0, limit)).reverse();
  }

  /** How many messages are kept. */
  count(account: string, peer: string): number {
    return this.#of(account, peer).messages.length;
  }

  /** Changes a text. `undefined` when there is no such message. */
  edit(account: string, peer: string, id: number, text: string): StoredMessage | undefined {
    const { messages } = this.#of(account, peer);
    const index = messages.findIndex((message) => message.id === id);
    const message = messages[index];
    if (message === undefined) return undefined;
    const edited = { ...message, text, editedAt: Math.floor(Date.now() / 1000) };
    messages[index] = edited;
    return edited;
  }

  /** Deletes messages of a channel, or with `null` of all the account's dialogs. Returns how many there were. */
  delete(account: string, channel: string | null, ids: ReadonlySet<number>): number {
    const own = [...this.#conversations].filter(([key]) => key.startsWith(`${account}\n`)).map(([, own]) => own);
    let deleted = 0;
    for (const conversation of channel === null ? own : [this.#of(account, channel)]) {
      const kept = conversation.messages.filter((message) => !ids.has(message.id));
      deleted += conversation.messages.length - kept.length;
      conversation.messages = kept;
    }
    return deleted;
  }

  /** The peers the account has spoken with, the last one first. */
  peersOf(account: string): readonly string[] {
    const prefix = `${account}\n`;
    const keys = [...this.#conversations.keys()].filter((key) => key.startsWith(prefix));
    return keys.map((key) => key.slice(prefix.length)).reverse();
  }

  #of(account: string, peer: string): Conversation {
    const key = peer.startsWith("channel:") ? peer : `${account}\n${peer}`;
    const known = this.#conversations.get(key);
    if (known !== undefined) return known;
    const conversation: Conversation = { messages: [] };
    this.#conversations.set(key, conversation);
    return conversation;
  }
}

function counterOf(account: string, peer: string): string {
  return peer.startsWith("channel:") ? peer : `account ${account}`;
}
