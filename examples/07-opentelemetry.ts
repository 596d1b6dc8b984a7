/**
 * The operations of a pool as spans of OpenTelemetry. Runs on its own: npx tsx examples/07-opentelemetry.ts
 * A program of yours needs what is above the line, and its own exporter.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { tracingChannel } from "node:diagnostics_channel";
import * as otel from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base";
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { Api } from "telegram";
import { type AcquireTrace, type CallTrace, SessionPool, type Trace, type UseTrace } from "telegram-session-pool";
import { gramjs } from "telegram-session-pool/gramjs";
import { startTestServer } from "telegram-session-pool/testing";

/** Keeps the context in a store that the tracing channels can set, too. With `NodeSDK`: its option `contextManager`. */
class SharedContext implements otel.ContextManager {
  readonly store = new AsyncLocalStorage<otel.Context>();

  active(): otel.Context {
    return this.store.getStore() ?? otel.ROOT_CONTEXT;
  }

  with<A extends unknown[], F extends (...args: A) => ReturnType<F>>(
    context: otel.Context,
    run: F,
    thisArgument?: ThisParameterType<F>,
    ...values: A
  ): ReturnType<F> {
    return this.store.run(context, () => run.apply(thisArgument, values));
  }

  bind<T>(context: otel.Context, target: T): T {
    if (typeof target !== "function") return target;
    return ((...values: unknown[]) => this.store.run(context, () => target(...values))) as T;
  }

  enable(): this {
    return this;
  }

  disable(): this {
    this.store.disable();
    return this;
  }
}

/** Makes every operation of every pool of the process a span; those within another one are its children. */
function tracePools(tracer: otel.Tracer, { store }: SharedContext): void {
  for (const name of ["use", "acquire", "connect", "call"]) {
    const channel = tracingChannel<otel.Context, Trace>(`telegram-session-pool:${name}`);
    const spans = new WeakMap<object, otel.Span>();
    const kind = name === "call" ? otel.SpanKind.CLIENT : otel.SpanKind.INTERNAL;
    channel.start.bindStore(store, (message) => {
      const span = tracer.startSpan(name, { kind });
      spans.set(message, span);
      return otel.trace.setSpan(otel.context.active(), span);
    });
    channel.asyncEnd.subscribe((message) => {
      const span = spans.get(message as object);
      const trace = message as Partial<UseTrace & AcquireTrace & CallTrace>;
      span?.setAttributes({
        "telegram.session": trace.sessionId,
        "telegram.method": trace.method,
        "telegram.attempt": trace.attempt,
        "telegram.attempts": trace.attempts,
        "telegram.waited_ms": trace.waitedMs,
        "telegram.outcome": trace.outcome,
      });
      if (trace.error !== undefined) span?.setStatus({ code: otel.SpanStatusCode.ERROR, message: trace.error.code });
      span?.end();
    });
  }
}

// ------------------------------------------------------------------------------------------------------------------------

const exporter = new InMemorySpanExporter(); // yours: new OTLPTraceExporter(), in a BatchSpanProcessor
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
const shared = new SharedContext();
otel.context.setGlobalContextManager(shared);
const tracer = provider.getTracer("example");
tracePools(tracer, shared);

await using server = await startTestServer({ accounts: [{ name: "alice" }, { name: "bob" }] });
await using pool = await SessionPool.open({
  client: gramjs({ apiId: 1, apiHash: "example", clientOptions: server.clientOptions }),
  trustServers: true, // these sessions name 127.0.0.1
});
for (const { name, session } of server.accounts) await pool.add(name, session);

server.fail({ account: "alice", method: "messages.SendMessage", message: "FLOOD_WAIT_30" });
await tracer.startActiveSpan("greet", async (span) => {
  await pool.invoke(() => new Api.messages.SendMessage({ peer: "user1", message: "hello" }));
  span.end();
});

/** The exported spans. */
export const spans: readonly ReadableSpan[] = exporter.getFinishedSpans();

function print(parentId: string | undefined, indent: string): void {
  const children = spans.filter(({ parentSpanContext }) => parentSpanContext?.spanId === parentId);
  const byStart = (one: ReadableSpan, other: ReadableSpan): number =>
    one.startTime[0] - other.startTime[0] || one.startTime[1] - other.startTime[1];
  for (const span of [...children].sort(byStart)) {
    const { "telegram.session": session, "telegram.method": method, "telegram.attempt": attempt } = span.attributes;
    const facts = [session, method, attempt && `attempt ${attempt}`, span.attributes["telegram.outcome"]];
    console.log(`${indent}${[span.name, facts.filter(Boolean).join(", ")].filter(Boolean).join(": ")}`);
    print(span.spanContext().spanId, `${indent}  `);
  }
}

print(undefined, "");
