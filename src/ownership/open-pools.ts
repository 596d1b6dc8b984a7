import { sharedByCopies } from "../common/shared-by-copies.js";

/**
 * The pools of this thread that are not closed yet: what a closed one had claimed may be claimed again. A pool leaves when
 * it is closed.
 */
export const openPools: Set<string> = sharedByCopies("live-pools", Set<string>);
