/** How bad a finding is: nothing to do, worth a look, or something that does not work. */
export type FindingLevel = "ok" | "warn" | "fail";

/** What one check has found out. */
export interface Finding {
  /** What was looked at: `"Node.js"`. */
  readonly check: string;
  readonly level: FindingLevel;
  readonly message: string;
  /** What to do about it. */
  readonly advice?: string;
}

/** Nothing to do. */
export function ok(check: string, message: string): Finding {
  return { check, level: "ok", message };
}

/** Worth a look. */
export function warn(check: string, message: string, advice: string): Finding {
  return { check, level: "warn", message, advice };
}

/** Does not work. */
export function fail(check: string, message: string, advice: string): Finding {
  return { check, level: "fail", message, advice };
}

/** The first line of an error's message. */
export function messageOf(error: unknown): string {
  const { message, code } = error as NodeJS.ErrnoException;
  const [line = ""] = (message ?? String(error)).split("\n");
  return line === "" ? String(code ?? error) : line;
}
