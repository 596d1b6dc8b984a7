/** What one flood wait says about two methods that may share a limit. */
interface Evidence {
  /** The method that was refused. */
  readonly method: string;
  /** Number of its calls that were permitted. */
  readonly calls: number;
  /** Number of permitted calls of both methods. */
  readonly total: number;
}

/** Number of flood waits that show a shared limit, and that are remembered for two methods. */
const MIN_EVIDENCE = 4;
const MAX_EVIDENCE = 6;
/** Maximum number of pairs of methods that are compared at a time. */
const MAX_PAIRS = 64;

/**
 * Methods that share one limit. They are recognized by what was permitted before flood waits: of each method now more, now
 * less, of both together always as much. A group is named by its methods, with spaces in between, and a method that shares
 * its limit with no other by its name.
 */
export class MethodGroups {
  readonly #keys = new Map<string, string>();
  /** By the names of two groups. */
  readonly #evidence = new Map<string, Evidence[]>();

  /** The name of the group that a method belongs to. */
  keyOf(method: string): string {
    return this.#keys.get(method) ?? method;
  }

  /** Makes one group of the methods in a name. */
  restore(key: string): void {
    if (key.includes(" ")) for (const method of methodsOf(key)) this.#keys.set(method, key);
  }

  /**
   * Takes a flood wait into account.
   *
   * @param key the group of the method that was refused
   * @param calls number of its calls that were permitted
   * @param others number of calls of other groups that were permitted at the same time
   * @returns the name of a new group, if there is one
   */
  onFlood(key: string, calls: number, others: ReadonlyMap<string, number>): string | undefined {
    for (const [other, otherCalls] of others) {
      const both = [...methodsOf(key), ...methodsOf(other)].sort().join(" ");
      const evidence = this.#evidence.get(both) ?? [];
      evidence.push({ method: key, calls, total: calls + otherCalls });
      if (evidence.length > MAX_EVIDENCE) evidence.shift();
      this.#evidence.set(both, evidence);
      if (this.#evidence.size > MAX_PAIRS) this.#forgetOldest();
      if (!isShared(evidence)) continue;
      this.#evidence.delete(both);
      this.restore(both);
      return both;
    }
    return undefined;
  }

  #forgetOldest(): void {
    for (const pair of this.#evidence.keys()) {
      this.#evidence.delete(pair);
      return;
    }
  }
}

/** The methods of a group. */
export function methodsOf(key: string): readonly string[] {
  return key.split(" ");
}

function isShared(evidence: readonly Evidence[]): boolean {
  if (evidence.length < MIN_EVIDENCE) return false;
  const totals = evidence.map(({ total }) => total);
  const largest = Math.max(...totals);
  if (largest - Math.min(...totals) > Math.max(1, largest * 0.05)) return false;
  const methods = new Set(evidence.map(({ method }) => method));
  const spreads = Array.from(methods, (refused) => {
    const calls = evidence.filter(({ method }) => method === refused).map((one) => one.calls);
    return Math.max(...calls) - Math.min(...calls);
  });
  return Math.max(...spreads) >= Math.max(2, largest * 0.2);
}
