/** A random number generator by Park and Miller: the same seed (1 or more) repeats the same integers below a limit. */
export function seededIntegers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 48_271) % 0x7fffffff;
    return state % below;
  };
}

/** The same generator in place of `Math.random`: numbers from 0 to below 1. */
export function seededRandom(seed: number): () => number {
  const next = seededIntegers(seed);
  // The first number of a small seed is always close to 0.
  next(1);
  return () => next(0x7fffffff) / 0x7fffffff;
}
