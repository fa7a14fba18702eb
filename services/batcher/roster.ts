import type { WorkerDetail } from '#mesh/control.ts';
import type { MemberId, ServableId } from '#mesh/ids.ts';
import type { LaneGroup } from './lane-group.ts';
import { createWorker, offeredTokens, type Slot, type Worker } from './workers.ts';

/** The workers by what they last announced. Changes their slots; what follows from that is the caller's. */
export interface Roster {
  /** Takes in an announcement. Returns the servables whose offer may have changed. */
  announced(workerId: MemberId, detail: WorkerDetail, nowMs: number): readonly LaneGroup[];
  get(workerId: MemberId): Worker | undefined;
  /** Takes a worker and all its slots away. */
  remove(worker: Worker): void;
}

/** Makes a roster without workers. `groupOf` finds or makes the lanes of a servable. */
export function createRoster(groupOf: (servable: ServableId, nowMs: number) => LaneGroup): Roster {
  const workers = new Map<MemberId, Worker>();

  return {
    announced(workerId, detail, nowMs) {
      const worker = workers.get(workerId) ?? createWorker(workerId);
      workers.set(workerId, worker);
      worker.draining = detail.draining;
      worker.fencingToken = detail.fencingToken;
      worker.revision = detail.assignmentRevision;
      for (const slot of worker.slots.values()) {
        slot.tokens = 0;
        slot.closed = false;
      }
      for (const held of detail.servables) {
        const tokens = offeredTokens(held);
        if (tokens <= 0) continue;
        const slot = slotOf(worker, groupOf(held.id, nowMs));
        slot.tokens = tokens;
        slot.batching = held.batching;
        slot.stateful = held.stateful;
      }
      const changed = [...worker.slots.keys()];
      for (const slot of [...worker.slots.values()]) removeIfUnused(slot);
      return changed;
    },
    get: (workerId) => workers.get(workerId),
    remove(worker) {
      workers.delete(worker.id);
      for (const slot of [...worker.slots.values()]) removeSlot(slot);
    },
  };
}

/** Takes a slot away once the worker neither offers the servable nor executes it. */
export function removeIfUnused(slot: Slot): void {
  if (slot.tokens === 0 && slot.inFlight === 0) removeSlot(slot);
}

function slotOf(worker: Worker, group: LaneGroup): Slot {
  let slot = worker.slots.get(group);
  if (slot === undefined) {
    slot = { worker, group, tokens: 0, inFlight: 0, closed: false, batching: null, stateful: false };
    worker.slots.set(group, slot);
    group.slots.push(slot);
  }
  return slot;
}

function removeSlot(slot: Slot): void {
  slot.worker.slots.delete(slot.group);
  const index = slot.group.slots.indexOf(slot);
  if (index >= 0) slot.group.slots.splice(index, 1);
}
