/** Records with such ids are the pool's own, none of a session. */
export const RESERVED_PREFIXES = { key: "~key:", pool: "~pool:", map: "~map:" } as const;

const PREFIXES: readonly string[] = Object.values(RESERVED_PREFIXES);

/** Whether no session may have this id. */
export function isReserved(id: string): boolean {
  return PREFIXES.some((prefix) => id.startsWith(prefix));
}
