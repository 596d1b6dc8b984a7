/** Records with such ids are the pool's own, none of a session. */
export const RESERVED_PREFIXES = { key: "~key:", pool: "~pool:" } as const;

/** Whether no session may have this id. */
export function isReserved(id: string): boolean {
  return id.startsWith(RESERVED_PREFIXES.key) || id.startsWith(RESERVED_PREFIXES.pool);
}
