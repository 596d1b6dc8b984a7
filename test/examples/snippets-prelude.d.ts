/** What the snippets of README and docs use without saying where it comes from. */
import type { TelegramClient } from "telegram";
import type { ProxyProfile, SessionPool, SessionStorage } from "telegram-session-pool";
import type { gramjs as gramjsAdapter } from "telegram-session-pool/gramjs";
import type { TelegramTestServer } from "telegram-session-pool/testing";
import type { expect as vitestExpect } from "vitest";

declare global {
  const apiId: number;
  const apiHash: string;
  const aliceSession: string;
  const bobSession: string;
  const newSession: string;
  const proxy: ProxyProfile;
  const log: Readonly<Record<"debug" | "info" | "warn" | "error", (fields: unknown, message: string) => void>>;
  const texts: readonly string[];
  const pool: SessionPool<TelegramClient>;
  const gramjs: typeof gramjsAdapter;
  const ask: (question: string) => Promise<string>;
  const askHidden: (question: string) => Promise<string>;
  const work: (client: TelegramClient) => Promise<void>;
  const sendNewsletter: (pool: SessionPool<TelegramClient>) => Promise<void>;
  const server: TelegramTestServer;
  const expect: typeof vitestExpect;
  const myStorage: (path: string) => SessionStorage;
}
