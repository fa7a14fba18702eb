import type { MemberId } from '#mesh/ids.ts';
import type { Refusal } from './admission.ts';
import { type Crash, isProof, withLoss } from './crash-record.ts';
import type { HeldRequest } from './held-request.ts';
import type { LaneGroup } from './lane-group.ts';
import * as refusals from './refusals.ts';

/** How a worker was lost that had a piece of a request. */
export interface Loss {
  readonly group: LaneGroup;
  readonly workerId: MemberId;
  readonly crash: Crash;
  /** The mesh itself was cut, or the worker was leaving: nobody is to blame. */
  readonly excused: boolean;
  /** `shared`: others may have been executed with it. `waiting`: it was to be alone, and the worker had not begun. `alone`: nothing else was executed. */
  readonly company: 'shared' | 'waiting' | 'alone';
}

/** What becomes of the request. `crashes` are those that it has seen, this one included where it says something. */
export type LossVerdict =
  /** It goes back to its lane. */
  | { readonly type: 'again'; readonly crashes: readonly Crash[] }
  /** It is a suspect: from now on it is executed alone. */
  | { readonly type: 'alone'; readonly crashes: readonly Crash[] }
  /** It is answered. `blamed`: the crashes count against its servable. */
  | { readonly type: 'give-up'; readonly crashes: readonly Crash[]; readonly refusal: Refusal; readonly blamed: boolean };

/**
 * Judges a request whose worker is gone, or will not say what became of it. Requests that may have ended a worker become suspects, and one that
 * was alone when workers were lost is not tried again. A servable is blamed only for what such a request proves: workers also die of things that
 * no servable did, several at once, and what they were executing must not be quarantined for that.
 */
export function lossVerdict({ crashes, callers }: HeldRequest, { group, workerId, crash, excused, company }: Loss): LossVerdict {
  if (group.stateful) return { type: 'give-up', crashes, refusal: refusals.stateful(group, workerId), blamed: false };
  if (excused) return { type: 'again', crashes };
  // It was not executed: whatever ended the worker, it did not.
  if (company === 'waiting') return { type: 'alone', crashes };
  const alone = company === 'alone';
  if (callers !== undefined && !alone) {
    // Alone on a worker it would wait for those that wait for it. So it shares workers once more, and no third time.
    const seen = withLoss(crashes, crash);
    return isProof(seen)
      ? { type: 'give-up', crashes: seen, refusal: refusals.crashedTwice(group), blamed: false }
      : { type: 'again', crashes: seen };
  }
  // In company one loss says what there is to say: that it has to be alone.
  const seen = alone || crashes.length === 0 ? withLoss(crashes, crash) : crashes;
  if (!alone || !isProof(seen)) return { type: 'alone', crashes: seen };
  return { type: 'give-up', crashes: seen, refusal: refusals.crashed(group, seen.length), blamed: true };
}
