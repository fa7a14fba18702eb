import type { BatchingLimits, HeldServable } from '#mesh/control.ts';
import type { MemberId } from '#mesh/ids.ts';
import type { LaneGroup } from './lane-group.ts';

/** A worker as this batcher sees it. */
export interface Worker {
  readonly id: MemberId;
  /** One for each servable that it serves, or still executes for us. */
  readonly slots: Map<LaneGroup, Slot>;
  draining: boolean;
  /** Under which leadership and revision its batching limits were assigned; higher is newer. */
  fencingToken: number;
  revision: number;
  /** Batches of this batcher that it has not returned, over all servables. */
  inFlight: number;
  /** Nobody listened when a batch was sent: nothing new until this instant, at which what it has not returned is taken for lost. */
  suspendedUntilMs: number;
  /** Kept free of other batches while suspects of this servable are executed on it, so that a crash has one cause. */
  reservedFor: LaneGroup | null;
  /** A suspect is being executed on it. */
  hasSuspect: boolean;
}

/** A worker's ready tokens for one servable. */
export interface Slot {
  readonly worker: Worker;
  readonly group: LaneGroup;
  /** Batches it takes at once from this batcher; 0 while it does not serve the servable. */
  tokens: number;
  inFlight: number;
  /** It refused a batch: until it announces anew it gets nothing, but for what servables wait for. */
  closed: boolean;
  batching: BatchingLimits | null;
  stateful: boolean;
}

/** Makes a worker that serves nothing yet. */
export function createWorker(id: MemberId): Worker {
  return {
    id,
    slots: new Map(),
    draining: false,
    fencingToken: 0,
    revision: 0,
    inFlight: 0,
    suspendedUntilMs: Number.NEGATIVE_INFINITY,
    reservedFor: null,
    hasSuspect: false,
  };
}

/** The tokens that a worker's announcement offers for one servable. */
export function offeredTokens(held: HeldServable): number {
  return held.state === 'AVAILABLE' ? held.tokens : 0;
}

/** Tokens that can be spent now. */
export function freeTokens(slot: Slot): number {
  const { worker } = slot;
  if (slot.closed || worker.draining || worker.reservedFor !== null || worker.suspendedUntilMs !== Number.NEGATIVE_INFINITY) return 0;
  return slot.tokens - slot.inFlight;
}

/** The same for what servables wait for: it may run on a worker that is kept free for others, or that refused others. */
export function tokensForCalled({ worker, tokens, inFlight }: Slot): number {
  return worker.draining || worker.suspendedUntilMs !== Number.NEGATIVE_INFINITY ? 0 : tokens - inFlight;
}

/**
 * A worker that others do not get, for a batch that servables wait for: those may hold up just that worker, or be what it is kept free for, or
 * what it refuses others for. Undefined while another worker serves the servable, which will have a token in time.
 */
export function pickForCalled(slots: readonly Slot[]): Slot | undefined {
  if (slots.some((slot) => !isForCalledOnly(slot) && takesSuspects(slot))) return undefined;
  return slots.find((slot) => isForCalledOnly(slot) && tokensForCalled(slot) > 0);
}

/** The worker is kept free of shared batches, or refuses them. */
export function isForCalledOnly({ closed, worker }: Slot): boolean {
  return closed || worker.reservedFor !== null;
}

/**
 * The worker for the next batch: one that does nothing at all, else the one with most free tokens, else the one with least in flight, and in
 * turn among equals (`turn` goes up with each call). Undefined without a free token.
 */
export function pickSlot(slots: readonly Slot[], turn: number): Slot | undefined {
  let best: Slot | undefined;
  let bestFree = 0;
  for (let step = 0; step < slots.length; step++) {
    const slot = slots[(turn + step) % slots.length];
    if (slot === undefined) continue;
    const free = freeTokens(slot);
    if (free <= 0 || (best !== undefined && !isBetter(slot, free, best, bestFree))) continue;
    best = slot;
    bestFree = free;
  }
  return best;
}

/** The worker to keep free for suspects of a servable: of those not reserved yet, the one with least in flight. */
export function pickToReserve(slots: readonly Slot[]): Worker | undefined {
  let best: Worker | undefined;
  for (const slot of slots) {
    const { worker } = slot;
    if (worker.reservedFor !== null || !takesSuspects(slot)) continue;
    if (best === undefined || worker.inFlight < best.inFlight) best = worker;
  }
  return best;
}

/** How many workers suspects of one servable may keep to themselves: half of those that serve it, and at least one. */
export function reservableCount(slots: readonly Slot[]): number {
  let count = 0;
  for (const slot of slots) if (takesSuspects(slot)) count++;
  return Math.max(1, Math.floor(count / 2));
}

/** The worker serves the servable, can be reached, and refuses nothing. */
export function takesSuspects({ worker, tokens, closed }: Slot): boolean {
  return tokens > 0 && !closed && !worker.draining && worker.suspendedUntilMs === Number.NEGATIVE_INFINITY;
}

function isBetter(slot: Slot, free: number, best: Slot, bestFree: number): boolean {
  const idle = slot.worker.inFlight === 0;
  const bestIdle = best.worker.inFlight === 0;
  if (idle !== bestIdle) return idle;
  return free !== bestFree ? free > bestFree : slot.worker.inFlight < best.worker.inFlight;
}
