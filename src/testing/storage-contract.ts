import { batchCases, batchRestartCases } from "./storage-contract/batch-cases.js";
import { conflictCases, recordCases } from "./storage-contract/cases.js";
import { Contract, type ContractCases, type StorageContractOptions } from "./storage-contract/contract.js";
import { knowingCases, knowingRestartCases } from "./storage-contract/knowing-cases.js";
import {
  corruptionCases,
  damageCases,
  interruptionCases,
  lifeCases,
  peerCases,
  restartCases,
} from "./storage-contract/life-cases.js";
import { modelCases } from "./storage-contract/model.js";

export type { ContractMatchers, StorageContractOptions } from "./storage-contract/contract.js";

/**
 * Defines the tests every `SessionStorage` has to pass, with whichever runner is used. Call it once per storage, at the
 * top level of a test file or in a `describe`.
 *
 * @example
 * ```ts
 * import { expect, test } from "vitest";
 * testSessionStorage({ test, expect, name: "mine", open: () => mine(emptyFolder()) });
 * ```
 */
export function testSessionStorage(options: StorageContractOptions): void {
  const cases: ContractCases = {
    ...recordCases,
    ...conflictCases,
    ...lifeCases,
    ...peerCases,
    ...knowingCases,
    ...batchCases,
    ...modelCases,
    ...(options.reopen ? { ...restartCases, ...batchRestartCases, ...knowingRestartCases } : {}),
    ...(options.reopen && options.corrupt ? corruptionCases : {}),
    ...(options.damage ? damageCases : {}),
    ...(options.reopen && options.interrupt ? interruptionCases : {}),
  };
  for (const [name, run] of Object.entries(cases)) {
    options.test(`${options.name ?? "storage"}: ${name}`, async () => {
      const contract = new Contract(options);
      try {
        await run(contract);
      } finally {
        await contract.closeAll();
      }
    });
  }
}
