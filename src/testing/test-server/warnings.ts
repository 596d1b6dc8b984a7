/** Tells the developer of a mistake in a handler or a condition: it must not pass for the client's. */
export function warn(error: unknown): void {
  process.emitWarning(error instanceof Error ? (error.stack ?? error.message) : String(error), "DataCenterWarning");
}
