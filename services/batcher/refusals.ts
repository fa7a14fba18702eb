import type { MemberId } from '#mesh/ids.ts';
import type { Refusal } from './admission.ts';
import type { LaneGroup } from './lane-group.ts';

/** Every new request while the batcher drains, and at the end of the drain what is still queued. */
export function draining(batcherId: MemberId): Refusal {
  return { reason: 'draining', code: 'UNAVAILABLE', message: `${batcherId} is draining: another batcher takes the request`, resend: true };
}

/** The bound on bytes over all lanes is reached. */
export function bytesFull(batcherId: MemberId, heldBytes: number, maxHeldBytes: number): Refusal {
  return {
    reason: 'bytes-full',
    code: 'UNAVAILABLE',
    message: `${batcherId} holds ${heldBytes} bytes of requests, its limit is ${maxHeldBytes} (batcher_max_held_bytes)`,
    resend: false,
  };
}

/** Too much waits already: executing the request would be work for nobody, and take its place from one that can be answered. */
export function tooLate(group: LaneGroup, waitMs: number, budgetMs: number): Refusal {
  return {
    reason: 'too-late',
    code: 'UNAVAILABLE',
    message: `${group.key} is overloaded: a request is answered after up to ${Math.ceil(waitMs)} ms, and this one has ${Math.floor(budgetMs)} ms`,
    resend: false,
  };
}

/** No worker came in time. */
export function noWorker(group: LaneGroup, waitedMs: number): Refusal {
  return {
    reason: 'no-worker',
    code: 'UNAVAILABLE',
    message: `No worker serves ${group.key}; waited ${Math.round(waitedMs)} ms for one`,
    resend: false,
  };
}

/** The servable ended too many workers lately. */
export function quarantined(group: LaneGroup, nowMs: number): Refusal {
  const leftMs = Math.ceil(group.quarantinedUntilMs - nowMs);
  return {
    reason: 'quarantined',
    code: 'UNAVAILABLE',
    message: `${group.key} is quarantined for another ${leftMs} ms: it ended ${group.crashes.length} workers within a minute`,
    resend: false,
  };
}

/** The request ended workers again and again, at last alone: twice, or more often when others were lost at the same time. */
export function crashed(group: LaneGroup, count = 2): Refusal {
  const often = count === 2 ? 'two workers' : `${count} workers`;
  const last = count === 2 ? 'second' : 'last';
  return {
    reason: 'crashed',
    code: 'INTERNAL',
    message: `The request ended ${often} while ${group.key} executed it, the ${last} time alone; it is not tried again`,
    resend: false,
  };
}

/** Two workers ended under a request that another servable waits for, and that could not be tried alone. */
export function crashedTwice(group: LaneGroup): Refusal {
  return {
    ...crashed(group),
    message: `Two workers ended while ${group.key} executed the request, for which another servable waits; it is not tried again`,
  };
}

/** The batch of a servable that keeps state was lost: it may have been executed, and must not be executed twice. */
export function stateful(group: LaneGroup, workerId: MemberId): Refusal {
  return {
    reason: 'stateful',
    code: 'UNAVAILABLE',
    message: `${workerId} was lost while it executed the request; ${group.key} keeps state, so the request is not executed again`,
    resend: false,
  };
}

/** The transport took the batch neither now nor later. */
export function unsendable(group: LaneGroup, caught: unknown): Refusal {
  const cause = caught instanceof Error ? caught.message : String(caught);
  return { reason: 'transport', code: 'UNAVAILABLE', message: `The batch of ${group.key} could not be sent: ${cause}`, resend: true };
}
