import type { WorkerDetail } from '#mesh/control.ts';
import { IdTable } from '#mesh/id-table.ts';
import { type BatchId, createSequence, type MemberId, type RequestId, type ServableId } from '#mesh/ids.ts';
import type { Answer, BatchFrame, CancelFrame, ReadyFrame, SubmitFrame, SubmittedRequest } from '#mesh/messages.ts';
import type { Silence } from '#mesh/presence.ts';
import type { Tracing } from '#mesh/telemetry.ts';
import { type Refusal, refusalOf } from './admission.ts';
import { type CloseReason, type LaneSnapshot, nextAction } from './batch-policy.ts';
import type { BatcherSettings } from './config.ts';
import { type Crash, createLosses, withCrash } from './crash-record.ts';
import type { BatcherEvents, RequeueReason } from './events.ts';
import { type FormOptions, formBatch, overdueRefusal } from './form-batch.ts';
import { callersBytes, type GatewayBook, type HeldRequest, type Piece } from './held-request.ts';
import type { Lane } from './lane.ts';
import { activate, deactivate, type LaneGroup, refreshGroup } from './lane-group.ts';
import { createLaneStore } from './lane-store.ts';
import { aheadOf, lateRefusal, unitsOf } from './late-refusal.ts';
import { lossVerdict } from './loss-verdict.ts';
import * as refusals from './refusals.ts';
import { createRoster, removeIfUnused } from './roster.ts';
import { frameOf, type SentBatch } from './sent-batch.ts';
import { createWakeHeap } from './wake-heap.ts';
import {
  freeTokens,
  isForCalledOnly,
  pickForCalled,
  pickSlot,
  pickToReserve,
  reservableCount,
  type Slot,
  takesSuspects,
  tokensForCalled,
  type Worker,
} from './workers.ts';

/** Where the lanes' decisions go. Calls come from within the methods of `Lanes`; none may call back into it. */
export interface LanesPorts {
  /** Sends a batch. Throws when it cannot be sent at all; its requests are then answered UNAVAILABLE, to be resent. */
  send(workerId: MemberId, frame: BatchFrame): void;
  /** The batch is no longer under way. `returned`: its worker said so; `lost`: the news that nobody took it may still come. */
  settled(batchId: BatchId, how: 'returned' | 'lost'): void;
  answer(gatewayId: MemberId, answer: Answer): void;
  /** Tells a worker that nobody waits for these requests any more. */
  drop(workerId: MemberId, frame: CancelFrame): void;
}

/** What the lanes know of the process around them; fixed for their life. */
export interface LanesOptions {
  readonly id: MemberId;
  readonly settings: BatcherSettings;
  readonly ports: LanesPorts;
  readonly events: BatcherEvents;
  readonly tracing: Tracing | null;
  /** The most bytes of one batch frame: `maxMessageBytesOf` the transport's limit. */
  readonly maxMessageBytes: number;
}

/**
 * The batcher without network and clock: all lanes, the workers' tokens, and what is under way. Every method takes the instant at which it
 * is called, by one clock. Batches are sent by `dispatch` alone, so that all that arrived in one turn shares them.
 */
export interface Lanes {
  submit(frame: SubmitFrame, nowMs: number): void;
  cancel(frame: CancelFrame): void;
  ready(frame: ReadyFrame, nowMs: number): void;
  /** Nobody took this batch: it was not executed. */
  undelivered(batchId: BatchId, nowMs: number): void;
  /** A worker came or changed what it announces. */
  announced(workerId: MemberId, detail: WorkerDetail, nowMs: number): void;
  /** A worker said good-bye or its lease ended; `silence`: how, in the second case. */
  gone(workerId: MemberId, nowMs: number, silence: Silence | undefined): void;
  /** The batches that a worker has not returned. */
  sentTo(workerId: MemberId): readonly BatchId[];
  /** A worker says that it does not have these batches: they, or their tokens, were lost on the way. */
  missing(workerId: MemberId, batchIds: readonly BatchId[], nowMs: number): void;
  /** The transport lost or regained its broker: what is lost around that says nothing against workers or servables. */
  connection(connected: boolean, nowMs: number): void;
  /** Sends what is due and gives up what is overdue. Returns the instant at which to call again at the latest; Infinity: none. */
  dispatch(nowMs: number): number;
  /** From now on every new request is refused, for the gateway to resend elsewhere. */
  drain(): void;
  /** Hands back what is still queued, for the gateways to resend elsewhere. */
  handBack(): void;
  /** Requests held: queued, or sent and not yet returned. */
  readonly heldRequests: number;
  /** Bytes of those. */
  readonly heldBytes: number;
  /** Requests, or parts of split ones, that wait in lanes. */
  readonly queuedPieces: number;
  /** Lanes known, empty ones included. */
  readonly laneCount: number;
  quarantined(nowMs: number): readonly ServableId[];
}

/** Bytes of a part in a batch frame besides its body and texts, and of its records here; rounded up. */
const PART_BYTES = 256;
/** After the news that nobody serves a worker's subject: how long news of its other batches may still come. */
const JUDGE_AFTER_MS = 200;
/** Weight of the newest batch in a lane's execution time. */
const NEWEST_WEIGHT = 0.2;

const NO_BYTES = new Uint8Array(0);

/** Makes lanes that hold nothing and know no worker. */
export function createLanes(options: LanesOptions): Lanes {
  const { id, settings, ports, events, tracing, maxMessageBytes } = options;
  const maxBatchBytes = Math.min(settings.maxBatchBytes, maxMessageBytes);
  const store = createLaneStore(maxBatchBytes);
  const roster = createRoster(store.groupOf);
  const batches = new IdTable<BatchId, SentBatch>();
  /** Workers whose subject nobody served a moment ago. */
  const suspended = new Set<Worker>();
  const dirty: LaneGroup[] = [];
  const wakes = createWakeHeap<Lane>();
  const losses = createLosses();
  const nextBatchId = createSequence<BatchId>();
  const forming: FormOptions = { maxMessageBytes, reject: giveUp };
  let sequence = 0;
  let heldRequests = 0;
  let heldBytes = 0;
  let queuedPieces = 0;
  let reportedQueued = 0;
  let draining = false;
  let connected = true;
  let reconnectedAtMs = Number.NEGATIVE_INFINITY;

  // Arrival.

  function admit(gateway: GatewayBook, request: SubmittedRequest, nowMs: number): void {
    const known = gateway.requests.get(request.requestId);
    if (known !== undefined) {
      events.duplicate(known.lane.group);
      const underWay = known.openPieces > known.queuedPieces;
      if (underWay && !known.lane.group.stateful) known.again = { request, arrivedMs: nowMs };
      return;
    }
    const lane = store.laneOf(request, nowMs);
    const { requestId, rows, budgetMs, body, traceparent, callers } = request;
    const bytes = PART_BYTES + body.byteLength + traceparent.length + 3 * gateway.id.length + callersBytes(callers);
    const ahead = aheadOf(lane, rows);
    const expectedMs = lane.pace.expectedMs(ahead, nowMs);
    const refusal = refusalAtDoor(lane, rows, bytes, nowMs) ?? lateRefusal(lane, { ahead, expectedMs, budgetMs });
    if (refusal !== null) {
      answerRefusal(lane.group, gateway.id, requestId, refusal);
      return;
    }
    const held: HeldRequest = {
      sequence: ++sequence,
      gateway,
      requestId,
      lane,
      rows,
      arrivedMs: nowMs,
      deadlineMs: nowMs + budgetMs,
      expectedMs: nowMs + expectedMs,
      bytes,
      traceparent,
      partTraceparent: traceparent,
      callers,
      span: null,
      body,
      suspect: false,
      crashes: [],
      done: false,
      split: false,
      openPieces: 1,
      queuedPieces: 0,
      queuedRows: 0,
      worker: null,
      again: null,
    };
    gateway.requests.set(requestId, held);
    heldRequests++;
    heldBytes += bytes;
    startSpan(held);
    lane.push({ request: held, rowStart: 0, rowCount: rows, queued: true });
    queuedPieces++;
    lane.lastUsedMs = nowMs;
    activate(lane);
    arm(lane);
    markDirty(lane.group);
  }

  function refusalAtDoor(lane: Lane, rows: number, bytes: number, nowMs: number): Refusal | null {
    const { group } = lane;
    if (draining) return refusals.draining(id);
    if (group.quarantinedUntilMs > nowMs) return refusals.quarantined(group, nowMs);
    if (heldBytes + bytes > settings.maxHeldBytes) return refusals.bytesFull(id, heldBytes, settings.maxHeldBytes);
    return refusalOf({
      rows,
      queuedRequests: lane.queuedPieces,
      queuedRows: lane.queuedRows,
      batching: group.batching,
      maxQueuedRequests: settings.maxQueuedRequests,
    });
  }

  // Sending.

  /** Lanes take turns, batch by batch, until none has a batch to send or no token is left. */
  function dispatchLanes(group: LaneGroup, nowMs: number): void {
    const { active } = group;
    let passedOver = 0;
    while (passedOver < active.length) {
      const free = pickSlot(group.slots, group.slotTurn);
      const lane = active[group.laneTurn % active.length];
      if (lane === undefined || (free === undefined && !group.slots.some(isForCalledOnly))) return;
      const slot = free ?? (lane.called ? pickForCalled(group.slots) : undefined);
      const reason = slot && closeReason(lane, slot, nowMs);
      if (slot === undefined || reason === undefined) {
        group.laneTurn++;
        passedOver++;
        continue;
      }
      passedOver = 0;
      group.slotTurn++;
      closeBatch(lane, slot, reason, nowMs);
      if (lane.queuedPieces === 0) deactivate(lane);
      else group.laneTurn++;
    }
  }

  /** Why the lane's next batch goes now; undefined when it waits, and then the lane is armed for the end of the wait. */
  function closeReason(lane: Lane, slot: Slot, nowMs: number): CloseReason | undefined {
    const { limits } = lane.group;
    let action = nextAction(snapshotOf(lane, slot, nowMs), limits, nowMs);
    // The lane's earliest deadline may be that of a request which has left: look again with the exact one.
    if (action.type === 'close' && action.reason === 'deadline' && lane.tightenDeadline())
      action = nextAction(snapshotOf(lane, slot, nowMs), limits, nowMs);
    if (action.type === 'close') return action.reason;
    if (action.type === 'wait') wakes.arm(lane, action.untilMs);
    return undefined;
  }

  /**
   * Sends the suspects of a servable, each alone on a worker that has nothing else of ours and executes nothing of others meanwhile, so that a
   * crash has one cause and takes nobody along. Workers are kept free for that one by one: the others go on with everybody else's batches.
   */
  function dispatchSuspects(group: LaneGroup, nowMs: number): void {
    const { suspects, reserved } = group;
    if (suspects.queuedPieces === 0 && reserved.size === 0) return;
    while (suspects.queuedPieces > 0) {
      const slot = slotForSuspect(group);
      if (slot === undefined) break;
      closeBatch(suspects, slot, 'suspect', nowMs);
    }
    for (const worker of [...reserved]) {
      const slot = worker.slots.get(group);
      const useful = suspects.queuedPieces > 0 && slot !== undefined && takesSuspects(slot);
      if (!worker.hasSuspect && !useful) release(worker);
    }
  }

  function slotForSuspect(group: LaneGroup): Slot | undefined {
    for (const worker of group.reserved) {
      const slot = worker.slots.get(group);
      if (slot !== undefined && worker.inFlight === 0 && takesSuspects(slot)) return slot;
    }
    while (group.reserved.size < reservableCount(group.slots)) {
      const worker = pickToReserve(group.slots);
      if (worker === undefined) return undefined;
      worker.reservedFor = group;
      group.reserved.add(worker);
      if (worker.inFlight === 0) return worker.slots.get(group);
    }
    return undefined;
  }

  function release(worker: Worker): void {
    worker.reservedFor?.reserved.delete(worker);
    worker.reservedFor = null;
    markAllDirty(worker);
  }

  function closeBatch(lane: Lane, slot: Slot, reason: CloseReason | 'suspect', nowMs: number): void {
    const formed = formBatch(lane, nowMs, forming);
    if (formed === undefined) return;
    const { pieces, rows, cut } = formed;
    const { group } = lane;
    const { worker } = slot;
    const solo = reason === 'suspect';
    queuedPieces -= cut ? pieces.length - 1 : pieces.length;
    const sent: SentBatch = { id: nextBatchId(), slot, lane, pieces, units: unitsOf(rows), sentMs: nowMs, solo, begun: false };
    batches.set(sent.id, sent);
    lane.pace.sent(sent.units, nowMs);
    slot.inFlight++;
    worker.inFlight++;
    if (solo) worker.hasSuspect = true;
    lane.lastUsedMs = nowMs;
    leave(sent);
    const frame = frameOf(id, sent, rows);
    try {
      ports.send(worker.id, frame);
    } catch (caught) {
      takeBack(sent, 'returned');
      const refusal = refusals.unsendable(group, caught);
      for (const { request } of pieces) giveUp(request, refusal);
      return;
    }
    events.batchClosed({ group, workerId: worker.id, reason, requestCount: pieces.length, rows, executeRows: frame.executeRows });
  }

  /** Notes for each request of a batch that it is on its way. */
  function leave({ pieces, slot, sentMs }: SentBatch): void {
    for (const { request } of pieces) {
      if (request.queuedPieces === 0) endSpan(request);
      request.worker = slot.worker;
      events.dequeued(slot.group, sentMs - request.arrivedMs);
    }
  }

  // What became of batches.

  /** Ends a batch and returns its token. */
  function takeBack(sent: SentBatch, how: 'returned' | 'lost'): void {
    const { slot, solo } = sent;
    const { worker, group } = slot;
    batches.delete(sent.id);
    sent.lane.pace.back(sent.units);
    slot.inFlight--;
    worker.inFlight--;
    if (solo) worker.hasSuspect = false;
    removeIfUnused(slot);
    ports.settled(sent.id, how);
    markDirty(group);
    if (worker.inFlight === 0) markAllDirty(worker);
  }

  function putBack(pieces: readonly Piece[], reason: RequeueReason): void {
    const byLane = Map.groupBy(
      pieces.filter(({ request }) => !request.done),
      ({ request }) => queueOf(request),
    );
    for (const [lane, back] of byLane) {
      lane.restore(back);
      queuedPieces += back.length;
      activate(lane);
      arm(lane);
      markDirty(lane.group);
      for (const { request } of back) {
        request.again = null;
        request.expectedMs = null;
        if (request.span === null) startSpan(request);
      }
      events.requeued(lane.group, reason, back.length);
    }
  }

  /** Their workers are gone, or will not say what became of them: see `lossVerdict`. `onTheWay`: messages were lost, and nobody is to blame. */
  function lose(lost: readonly SentBatch[], crash: Crash, nowMs: number, onTheWay = false): void {
    const again: Piece[] = [];
    const suspects: Piece[] = [];
    for (const sent of lost) {
      const { group, worker } = sent.slot;
      const excused = onTheWay || worker.draining || !connected || sent.sentMs <= reconnectedAtMs;
      const company = !sent.solo ? 'shared' : sent.begun ? 'alone' : 'waiting';
      takeBack(sent, 'lost');
      for (const piece of sent.pieces) {
        const { request } = piece;
        if (request.done) continue;
        const verdict = lossVerdict(request, { group, workerId: worker.id, crash, excused, company });
        request.crashes = verdict.crashes;
        if (verdict.type === 'again') again.push(piece);
        else if (verdict.type === 'alone') suspects.push(...suspect(request), piece);
        else {
          if (verdict.blamed) countCrashes(group, verdict.crashes, nowMs);
          giveUp(request, verdict.refusal);
        }
      }
    }
    putBack(again, onTheWay ? 'missing' : 'worker-lost');
    putBack(suspects, 'suspect');
  }

  /** Marks a suspect and takes its other pieces, if it was split, out of the lane that it shares with others. */
  function suspect(request: HeldRequest): readonly Piece[] {
    if (request.suspect) return [];
    const waiting = request.queuedPieces > 0 ? request.lane.extract(request) : [];
    queuedPieces -= waiting.length;
    request.suspect = true;
    return waiting;
  }

  function loseWorker(worker: Worker, crash: Crash, nowMs: number): void {
    const lost = batches.values().filter(({ slot }) => slot.worker === worker);
    if (lost.length === 0) return;
    events.workerLost({ workerId: worker.id, batchCount: lost.length, excused: worker.draining || !connected });
    lose(lost, crash, nowMs);
  }

  /** Holds against a servable what one of its requests did: the crashes that made it a suspect, and that of the worker it was alone on. */
  function countCrashes(group: LaneGroup, crashes: readonly Crash[], nowMs: number): void {
    for (const crash of crashes) {
      if (crash.counted) continue;
      crash.counted = true;
      group.crashes = withCrash(group.crashes, crash.atMs, nowMs);
    }
    if (group.crashes.length < settings.quarantineCrashes || group.quarantinedUntilMs > nowMs) return;
    group.quarantinedUntilMs = nowMs + settings.quarantineMs;
    events.quarantined(group, { crashCount: group.crashes.length, forMs: settings.quarantineMs });
    const refusal = refusals.quarantined(group, nowMs);
    for (const lane of [...group.active, group.suspects]) for (const request of lane.requests()) giveUp(request, refusal);
    markDirty(group);
  }

  /** Workers that nobody could reach a moment ago: by now all news of undelivered batches has come, so what they still hold is lost. */
  function judgeSuspended(nowMs: number): void {
    for (const worker of suspended) {
      if (worker.suspendedUntilMs > nowMs) continue;
      suspended.delete(worker);
      worker.suspendedUntilMs = Number.NEGATIVE_INFINITY;
      loseWorker(worker, losses.lost(worker.id, undefined, nowMs), nowMs);
      markAllDirty(worker);
    }
  }

  // The end of a request.

  function giveUp(request: HeldRequest, refusal: Refusal): void {
    if (request.done) return;
    for (const worker of workersOf(request)) ports.drop(worker.id, { gatewayId: request.gateway.id, requestIds: [request.requestId] });
    finish(request);
    answerRefusal(request.lane.group, request.gateway.id, request.requestId, refusal);
  }

  function answerRefusal(group: LaneGroup, gatewayId: MemberId, requestId: RequestId, refusal: Refusal): void {
    const { code, message, resend, reason } = refusal;
    events.refused(group, reason, message);
    ports.answer(gatewayId, { type: 'error', requestId, code, message, resend });
  }

  function finish(request: HeldRequest): void {
    request.done = true;
    const lane = queueOf(request);
    if (request.queuedPieces > 0) {
      queuedPieces -= request.queuedPieces;
      lane.drop(request);
      if (lane.queuedPieces === 0) deactivate(lane);
      if (request.suspect) markDirty(lane.group);
    }
    request.gateway.requests.delete(request.requestId);
    request.body = NO_BYTES;
    heldRequests--;
    heldBytes -= request.bytes;
    endSpan(request);
  }

  /** The workers that have a piece of the request now. */
  function workersOf(request: HeldRequest): Iterable<Worker> {
    if (request.openPieces === request.queuedPieces) return [];
    if (!request.split) return request.worker === null ? [] : [request.worker];
    const holders = new Set<Worker>();
    for (const { slot, pieces } of batches.values()) if (pieces.some((piece) => piece.request === request)) holders.add(slot.worker);
    return holders;
  }

  // Instants.

  /** A lane's instant has come: its earliest deadline, the end of its delay, or of its wait for a worker. */
  function wake(lane: Lane, nowMs: number): void {
    if (lane.queuedPieces === 0) return;
    if (nowMs >= lane.earliestDeadlineMs) {
      for (const request of lane.overdue(nowMs)) {
        const refusal = overdueRefusal(request, nowMs);
        if (refusal !== null) giveUp(request, refusal);
      }
      lane.tightenDeadline();
    }
    for (let piece = lane.first(); piece !== undefined && nowMs >= patienceMs(lane, piece.request); piece = lane.first())
      giveUp(piece.request, refusals.noWorker(lane.group, nowMs - piece.request.arrivedMs));
    arm(lane);
    markDirty(lane.group);
  }

  /** Makes sure that the lane is looked at when its earliest deadline or the wait for a worker is over. */
  function arm(lane: Lane): void {
    wakes.arm(lane, lane.earliestDeadlineMs);
    if (lane.group.unservedSinceMs === Number.POSITIVE_INFINITY) return;
    const piece = lane.first();
    if (piece !== undefined) wakes.arm(lane, patienceMs(lane, piece.request));
  }

  /** Until when a request waits for a worker to come. */
  function patienceMs(lane: Lane, request: HeldRequest): number {
    return Math.max(request.arrivedMs, lane.group.unservedSinceMs) + settings.noWorkerWaitMs;
  }

  // Small things.

  function refresh(group: LaneGroup, nowMs: number): void {
    refreshGroup(group, maxBatchBytes, nowMs);
    for (const lane of group.active) arm(lane);
    arm(group.suspects);
    markDirty(group);
  }

  function markDirty(group: LaneGroup): void {
    if (group.dirty) return;
    group.dirty = true;
    dirty.push(group);
  }

  /** A worker is idle, or free for everybody, again: lanes of all its servables that wait may want to know. */
  function markAllDirty(worker: Worker): void {
    for (const group of worker.slots.keys()) if (group.active.length > 0 || group.suspects.queuedPieces > 0) markDirty(group);
    if (worker.reservedFor !== null) markDirty(worker.reservedFor);
  }

  function startSpan(request: HeldRequest): void {
    if (tracing === null) return;
    request.span = tracing.start('batcher.queue', { traceparent: request.traceparent });
    request.span.setAttribute('servable', request.lane.group.key);
    request.partTraceparent = tracing.traceparentOf(request.span);
  }

  return {
    submit(frame, nowMs) {
      // A gateway without requests gets no book, which only the sweep of lanes would take away again.
      if (frame.requests.length === 0) return;
      const gateway = store.bookOf(frame.gatewayId);
      for (const request of frame.requests) admit(gateway, request, nowMs);
    },
    cancel({ gatewayId, requestIds }) {
      const book = store.findBook(gatewayId);
      if (book === undefined) return;
      const dropped = new Map<Worker, RequestId[]>();
      for (const requestId of requestIds) {
        const request = book.requests.get(requestId);
        if (request === undefined) continue;
        for (const worker of workersOf(request)) {
          const ids = dropped.get(worker);
          if (ids === undefined) dropped.set(worker, [requestId]);
          else ids.push(requestId);
        }
        finish(request);
      }
      for (const [worker, ids] of dropped) ports.drop(worker.id, { gatewayId, requestIds: ids });
    },
    ready({ workerId, batchId, outcome }, nowMs) {
      const sent = batches.get(batchId);
      // Not ours any more: it was taken for lost before, and its requests went elsewhere.
      if (sent === undefined || sent.slot.worker.id !== workerId) return;
      const { slot, lane, pieces } = sent;
      if (outcome === 'begun') {
        sent.begun = true;
        return;
      }
      if (outcome === 'refused') {
        // It will announce that it no longer serves this, or has room again. What servables wait for may still run there, unless that is refused.
        if (lane.called) slot.tokens = 0;
        else slot.closed = true;
        takeBack(sent, 'returned');
        putBack(pieces, 'refused');
        refresh(slot.group, nowMs);
        return;
      }
      takeBack(sent, 'returned');
      const tookMs = nowMs - sent.sentMs;
      lane.pace.returned(sent.units, pieces[0]?.request.expectedMs ?? null, nowMs);
      lane.executionMs = lane.executionMs === 0 ? tookMs : lane.executionMs + NEWEST_WEIGHT * (tookMs - lane.executionMs);
      for (const { request } of pieces) {
        if (request.done || --request.openPieces > 0) continue;
        finish(request);
        const { again, gateway } = request;
        if (again !== null) admit(gateway, { ...again.request, budgetMs: again.request.budgetMs - (nowMs - again.arrivedMs) }, nowMs);
      }
    },
    undelivered(batchId, nowMs) {
      const sent = batches.get(batchId);
      if (sent === undefined) return;
      const { worker } = sent.slot;
      takeBack(sent, 'returned');
      if (worker.suspendedUntilMs === Number.NEGATIVE_INFINITY && roster.get(worker.id) === worker) {
        worker.suspendedUntilMs = nowMs + JUDGE_AFTER_MS;
        losses.unreachable(worker.id);
        suspended.add(worker);
      }
      putBack(sent.pieces, 'undelivered');
    },
    announced(workerId, detail, nowMs) {
      for (const group of roster.announced(workerId, detail, nowMs)) refresh(group, nowMs);
    },
    gone(workerId, nowMs, silence) {
      const worker = roster.get(workerId);
      if (worker === undefined) return;
      suspended.delete(worker);
      release(worker);
      const served = [...worker.slots.keys()];
      loseWorker(worker, losses.lost(workerId, silence, nowMs), nowMs);
      roster.remove(worker);
      for (const group of served) refresh(group, nowMs);
    },
    sentTo: (workerId) =>
      batches
        .values()
        .filter(({ slot }) => slot.worker.id === workerId)
        .map(({ id: batchId }) => batchId),
    missing(workerId, batchIds, nowMs) {
      const lost = batchIds.flatMap((batchId) => batches.get(batchId) ?? []).filter(({ slot }) => slot.worker.id === workerId);
      lose(lost, { atMs: nowMs, counted: false, together: true }, nowMs, true);
    },
    connection(now, nowMs) {
      connected = now;
      if (now) reconnectedAtMs = nowMs;
    },
    dispatch(nowMs) {
      for (let lane = wakes.takeDue(nowMs); lane !== undefined; lane = wakes.takeDue(nowMs)) wake(lane, nowMs);
      judgeSuspended(nowMs);
      for (let group = dirty.pop(); group !== undefined; group = dirty.pop()) {
        group.dirty = false;
        dispatchSuspects(group, nowMs);
        dispatchLanes(group, nowMs);
      }
      store.sweep(nowMs);
      if (queuedPieces !== reportedQueued) events.queuedChanged(queuedPieces - reportedQueued);
      reportedQueued = queuedPieces;
      let nextMs = Math.min(wakes.nextMs(), store.nextSweepMs());
      for (const worker of suspended) nextMs = Math.min(nextMs, worker.suspendedUntilMs);
      return nextMs;
    },
    drain() {
      draining = true;
    },
    handBack() {
      const refusal = refusals.draining(id);
      for (const group of store.groups())
        for (const lane of [...group.active, group.suspects]) for (const request of lane.requests()) giveUp(request, refusal);
    },
    get heldRequests() {
      return heldRequests;
    },
    get heldBytes() {
      return heldBytes;
    },
    get queuedPieces() {
      return queuedPieces;
    },
    get laneCount() {
      return store.laneCount;
    },
    quarantined: (nowMs) => [...store.groups()].filter((group) => group.quarantinedUntilMs > nowMs).map((group) => group.id),
  };
}

/** The lane in which a request's pieces wait. */
function queueOf(request: HeldRequest): Lane {
  return request.suspect ? request.lane.group.suspects : request.lane;
}

function snapshotOf(lane: Lane, slot: Slot, nowMs: number): LaneSnapshot {
  return {
    queuedRequests: lane.queuedPieces,
    queuedRows: lane.queuedRows,
    queuedBytes: lane.queuedBytes,
    oldestArrivedMs: lane.first()?.request.arrivedMs ?? nowMs,
    earliestDeadlineMs: lane.earliestDeadlineMs,
    executionMs: lane.executionMs,
    freeTokens: lane.called ? tokensForCalled(slot) : freeTokens(slot),
    idleWorker: slot.worker.inFlight === 0,
  };
}

function endSpan(request: HeldRequest): void {
  request.span?.end();
  request.span = null;
}
