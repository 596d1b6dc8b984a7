import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { ensureBuilt, root, runNode } from "./build.js";

/** A span as OpenTelemetry has exported it. */
interface ExportedSpan {
  readonly name: string;
  readonly id: string;
  readonly parent: string | undefined;
  readonly trace: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly status: { readonly code: number; readonly message?: string };
}

/** Runs the example; prints its spans as JSON behind its own output. */
const PROGRAM = `
const { spans } = await import("./examples/07-opentelemetry.ts");
const exported = spans.map(({ name, attributes, status, parentSpanContext }, index) => {
  const { spanId, traceId } = spans[index].spanContext();
  return { name, id: spanId, trace: traceId, parent: parentSpanContext?.spanId, attributes, status };
});
console.log(JSON.stringify(exported));`;

let tree = "";
let spans: readonly ExportedSpan[] = [];

beforeAll(async () => {
  await ensureBuilt();
  const { code, output } = await runNode(["--import", "tsx", "--input-type=module", "--eval", PROGRAM]);
  const lines = output.trimEnd().split("\n");
  expect(code, output).toBe(0);
  spans = JSON.parse(lines.pop() ?? "") as readonly ExportedSpan[];
  tree = lines.join("\n");
}, 180_000);

/** The methods of the pool's own requests. */
const OWN_METHODS: readonly unknown[] = ["users.GetUsers", "account.GetAuthorizations"];

/** The values of one attribute of the program's operations, in the order in which the spans have ended. */
function valuesOf(name: string, attribute: string): readonly unknown[] {
  const ofCaller = spans.filter(
    (span) => span.name === name && !OWN_METHODS.includes(span.attributes["telegram.method"]),
  );
  return ofCaller.map(({ attributes }) => attributes[attribute]);
}

describe("07-opentelemetry", () => {
  test("its spans - are one trace: use within the program's span, acquire and call within use, connect within acquire", () => {
    const nameOf = (id: string | undefined): string | undefined => spans.find((span) => span.id === id)?.name;
    const nested = new Set(spans.map(({ name, parent }) => `${nameOf(parent)} > ${name}`));
    expect({ nested: [...nested].sort(), traces: new Set(spans.map(({ trace }) => trace)).size }).toEqual({
      nested: [
        "acquire > connect",
        "connect > call",
        "greet > use",
        "undefined > greet",
        "use > acquire",
        "use > call",
      ],
      traces: 1,
    });
  });

  test("its spans - of the pool's own requests belong to the connect that sends them, and to no attempt", () => {
    const connects = spans.filter(({ name }) => name === "connect").map(({ id }) => id);
    const own = spans.filter(({ attributes }) => OWN_METHODS.includes(attributes["telegram.method"]));
    expect(own.map(({ parent, attributes }) => [parent, attributes["telegram.attempt"]])).toEqual(
      connects.flatMap((id) => OWN_METHODS.map(() => [id, undefined])),
    );
  });

  test("its attributes - name session, method, outcome and wait, and tell the attempts of one use apart", () => {
    expect(valuesOf("call", "telegram.attempt")).toEqual([1, 1, 2, 2]);
    expect(valuesOf("call", "telegram.session")).toEqual(["alice", "alice", "bob", "bob"]);
    expect(valuesOf("call", "telegram.method")).toContain("messages.SendMessage");
    expect(valuesOf("call", "telegram.outcome")).toEqual(["ok", "FLOOD_WAIT", "ok", "ok"]);
    expect(valuesOf("acquire", "telegram.attempt")).toEqual([1, 2]);
    expect(valuesOf("acquire", "telegram.waited_ms")).toEqual([expect.any(Number), expect.any(Number)]);
    expect(valuesOf("use", "telegram.attempts")).toEqual([2]);
    const failed = spans.filter(({ status }) => status.code === 2);
    expect(failed.map(({ name, status }) => [name, status.message])).toEqual([["call", "FLOOD_WAIT"]]);
  });

  test("its attributes - hold no argument and no peer", () => {
    expect(JSON.stringify(spans)).not.toMatch(/hello|user1/);
  });

  test("docs/tracing.md - prints the tree that the example prints", () => {
    const page = readFileSync(join(root, "docs/tracing.md"), "utf8");
    expect(page).toContain(`\`\`\`text\n${tree}\n\`\`\``);
  });
});
