import { AsyncLocalStorage } from "node:async_hooks";
import { tracingChannel } from "node:diagnostics_channel";
import { onTestFinished } from "vitest";

/** One traced operation. */
export interface Span {
  readonly name: string;
  readonly message: Readonly<Record<string, unknown>>;
  readonly parent: Span | undefined;
  isEnded: boolean;
  /** Whether `error` was published. */
  hasFailed: boolean;
}

const NAMES = ["use", "acquire", "connect", "call"] as const;

/** Subscribes to the tracing channels until the test ends. Returns the spans, in the order of their starts. */
export function recordSpans(names: readonly string[] = NAMES): readonly Span[] {
  const current = new AsyncLocalStorage<Span>();
  const spans: Span[] = [];
  for (const name of names) {
    const channel = tracingChannel(`telegram-session-pool:${name}`);
    const byMessage = new WeakMap<object, Span>();
    channel.start.bindStore(current, (message) => {
      const span = {
        name,
        message: message as Span["message"],
        parent: current.getStore(),
        isEnded: false,
        hasFailed: false,
      };
      spans.push(span);
      byMessage.set(message as object, span);
      return span;
    });
    const change = (message: unknown, changed: Partial<Span>): void => {
      Object.assign(byMessage.get(message as object) ?? {}, changed);
    };
    const handlers = {
      asyncEnd: (message: unknown) => change(message, { isEnded: true }),
      error: (message: unknown) => change(message, { hasFailed: true }),
    };
    channel.asyncEnd.subscribe(handlers.asyncEnd);
    channel.error.subscribe(handlers.error);
    onTestFinished(() => {
      channel.start.unbindStore(current);
      channel.asyncEnd.unsubscribe(handlers.asyncEnd);
      channel.error.unsubscribe(handlers.error);
    });
  }
  return spans;
}

/** The spans as lines, each below its parent and indented. */
export function treeOf(spans: readonly Span[], parent?: Span, depth = 0): readonly string[] {
  return spans
    .filter((span) => span.parent === parent)
    .flatMap((span) => [`${"  ".repeat(depth)}${lineOf(span)}`, ...treeOf(spans, span, depth + 1)]);
}

function lineOf({ name, message }: Span): string {
  const { sessionId, method, attempt, outcome } = message;
  const parts = [name, sessionId, method, attempt === undefined ? undefined : `#${String(attempt)}`, outcome];
  return parts.filter((part) => part !== undefined).join(" ");
}
