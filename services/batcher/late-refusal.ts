import type { Refusal } from './admission.ts';
import type { Lane } from './lane.ts';
import type { Ahead } from './pace.ts';
import * as refusals from './refusals.ts';
import { freeTokens } from './workers.ts';

/** What a request of these rows finds before it in a lane. */
export function aheadOf({ group, queuedRows, queuedPieces }: Lane, rows: number): Ahead {
  const shares = group.limits.maxRows > 0 && rows > 0;
  return { units: unitsOf(rows), queuedUnits: shares ? queuedRows : queuedPieces, batchUnits: shares ? group.limits.maxRows : 1 };
}

/** A batch, or a request, in units of a lane's pace. */
export function unitsOf(rows: number): number {
  return Math.max(1, rows);
}

/**
 * Refuses a request that would almost certainly wait for its deadline in vain; null: it may enter. Executing it would be work for nobody, at the
 * cost of one that can be answered.
 */
export function lateRefusal(
  { group, pace }: Lane,
  request: { readonly ahead: Ahead; readonly expectedMs: number; readonly budgetMs: number },
): Refusal | null {
  const waitMs = pace.boundMs(request.expectedMs);
  if (waitMs <= request.budgetMs || !pace.knows(request.ahead)) return null;
  // Where a worker could begin at once, nothing is overloaded, however slow the last batches were.
  if (group.slots.length === 0 || group.slots.some((slot) => freeTokens(slot) > 0)) return null;
  return refusals.tooLate(group, waitMs, request.budgetMs);
}
