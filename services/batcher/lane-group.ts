import type { BatchingLimits } from '#mesh/control.ts';
import { type ServableId, servableKey } from '#mesh/ids.ts';
import { type BatchLimits, limitsOf } from './batch-policy.ts';
import { Lane } from './lane.ts';
import type { Slot, Worker } from './workers.ts';

/** The lanes of one servable and the workers that serve it. Lanes of a servable share its ready tokens, in turn. */
export class LaneGroup {
  readonly id: ServableId;
  /** `name@version`. */
  readonly key: string;
  /** `version` as a metrics label. */
  readonly version: string;
  readonly slots: Slot[] = [];
  /** Lanes that hold something, in no order; the turn goes round. */
  readonly active: Lane[] = [];
  /** Requests that were in a batch whose worker died, of all lanes: each goes alone. */
  readonly suspects: Lane;
  /** Workers kept free of other batches for them. */
  readonly reserved = new Set<Worker>();
  /** Lanes of this servable, empty ones included, the suspects' not. */
  laneCount = 0;
  /** From the newest announcement; kept while no worker serves the servable. Null: batching is off, or nobody has served it yet. */
  batching: BatchingLimits | null = null;
  limits: BatchLimits;
  stateful = false;
  /** Since when no worker serves it; Infinity while one does. */
  unservedSinceMs: number;
  /** When workers died of executing it, as requests have proven, within the last minute. */
  crashes: readonly number[] = [];
  /** Answered UNAVAILABLE at once until this instant. */
  quarantinedUntilMs = Number.NEGATIVE_INFINITY;
  laneTurn = 0;
  slotTurn = 0;
  /** Something changed since it was last looked at: a request came, a token came back, an instant was reached. */
  dirty = false;

  /** A servable that nobody serves yet. */
  constructor(id: ServableId, maxBatchBytes: number, nowMs: number) {
    this.id = id;
    this.key = servableKey(id);
    this.version = String(id.version);
    this.limits = limitsOf(null, maxBatchBytes);
    this.unservedSinceMs = nowMs;
    this.suspects = new Lane({ group: this, key: `suspects of ${this.key}`, signature: '', outputs: [] });
  }
}

/** Puts a lane in turn once it holds something. */
export function activate(lane: Lane): void {
  const { active, suspects } = lane.group;
  if (lane.activeIndex >= 0 || lane === suspects) return;
  lane.activeIndex = active.length;
  active.push(lane);
}

/** Takes an empty lane out of turn. */
export function deactivate(lane: Lane): void {
  const { active } = lane.group;
  const last = active.at(-1);
  if (lane.activeIndex < 0 || last === undefined) return;
  active[lane.activeIndex] = last;
  last.activeIndex = lane.activeIndex;
  active.pop();
  lane.activeIndex = -1;
}

/** Brings batching, statefulness and `unservedSinceMs` up to date after a worker's offer for this servable changed. */
export function refreshGroup(group: LaneGroup, maxBatchBytes: number, nowMs: number): void {
  let newest: Slot | undefined;
  let served = false;
  for (const slot of group.slots) {
    if (slot.tokens === 0) continue;
    if (newest === undefined || isNewer(slot.worker, newest.worker)) newest = slot;
    if (!slot.worker.draining) served = true;
  }
  if (newest !== undefined) {
    group.batching = newest.batching;
    group.stateful = newest.stateful;
    group.limits = limitsOf(newest.batching, maxBatchBytes);
  }
  if (served) group.unservedSinceMs = Number.POSITIVE_INFINITY;
  else if (group.unservedSinceMs === Number.POSITIVE_INFINITY) group.unservedSinceMs = nowMs;
}

function isNewer(a: Worker, b: Worker): boolean {
  return a.fencingToken !== b.fencingToken ? a.fencingToken > b.fencingToken : a.revision > b.revision;
}
