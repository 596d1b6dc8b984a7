import type { SessionStorage, StoredRecord } from "../../storage/storage.js";
import type { Contract, ContractCases } from "./contract.js";

const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8];
const STEPS = 40;
const IDS = ["a", "b", "a:b"];

/** Random creates, writes, deletes and restarts, against a Map that does the same. */
export const modelCases: ContractCases = Object.fromEntries(
  SEEDS.map((seed) => [`model - random commands, seed ${seed}`, (contract: Contract) => runModel(contract, seed)]),
);

async function runModel(contract: Contract, seed: number): Promise<void> {
  const random = randomFrom(seed);
  const model = new Map<string, StoredRecord>();
  const highest = new Map<string, number>();
  let storage = await contract.open();
  for (let step = 0; step < STEPS; step += 1) {
    const id = IDS[random(IDS.length)] ?? "a";
    const command = random(10);
    if (command === 0) storage = await restart(contract, storage);
    else {
      const current = model.get(id)?.version ?? 0;
      const expected = random(4) === 0 ? current + random(3) - 1 : current;
      const data = command < 4 && expected !== 0 ? null : `data ${seed} ${step}`;
      const version = await storage.write(id, expected, data);
      contract.expect([step, version !== undefined]).toEqual([step, expected === current]);
      if (version !== undefined) apply(contract, model, highest, { id, version }, data);
    }
    contract.expect(await storage.read(id)).toEqual(model.get(id));
  }
  contract.expect(byId(await storage.list())).toEqual(byId([...model.values()]));
}

function apply(
  contract: Contract,
  model: Map<string, StoredRecord>,
  highest: Map<string, number>,
  { id, version }: { readonly id: string; readonly version: number },
  data: string | null,
): void {
  contract.expect(version > (highest.get(id) ?? 0)).toBe(true);
  highest.set(id, version);
  if (data === null) model.delete(id);
  else model.set(id, { id, version, data });
}

async function restart(contract: Contract, storage: SessionStorage): Promise<SessionStorage> {
  if (contract.options.reopen === undefined) return storage;
  await storage.close?.();
  return contract.reopen(storage);
}

function byId(records: readonly StoredRecord[]): readonly StoredRecord[] {
  return [...records].sort((left, right) => (left.id < right.id ? -1 : 1));
}

/** Whole numbers below `limit`, the same ones for the same seed. Source: Lehmer's generator (MINSTD). */
function randomFrom(seed: number): (limit: number) => number {
  let state = seed * 7_919;
  return (limit) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % limit;
  };
}
