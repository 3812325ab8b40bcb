/** A class that has not begun is asked for at least this often, so that nobody misses the start. */
const CEILING_MS = 8_000;

/**
 * How long to wait before attempt number `attempt` (from 1).
 *
 * Grows by half each time from one second, never below the node's `Retry-After`, and spreads over a
 * quarter, so that a class waiting for its teacher does not knock in step. `random` is in [0, 1).
 */
export function retryDelayMs(attempt: number, retryAfterS: number | null, random: number): number {
  const grown = Math.min(CEILING_MS, 1_000 * 1.5 ** (attempt - 1));
  const floor = (retryAfterS ?? 0) * 1_000;
  return Math.round(Math.max(grown, floor) * (1 + random / 4));
}
