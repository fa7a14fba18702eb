import { describe, expect, test } from '@jest/globals';
import { IdTable } from '#mesh/id-table.ts';
import type { MemberId, RequestId } from '#mesh/ids.ts';
import type { HeldRequest, Piece } from '../../services/batcher/held-request.ts';
import type { Lane } from '../../services/batcher/lane.ts';
import { Lane as LaneClass } from '../../services/batcher/lane.ts';
import { LaneGroup } from '../../services/batcher/lane-group.ts';
import { SERVABLE } from './harness.ts';

const group = new LaneGroup(SERVABLE, 1e6, 0);
const newLane = () => new LaneClass({ group, key: 'k', signature: 's', outputs: ['y'] });

function piece(lane: Lane, sequence: number, { rows = 1, deadlineMs = Number.POSITIVE_INFINITY } = {}): Piece {
  const request: HeldRequest = {
    sequence,
    gateway: { id: 'gateway-1' as MemberId, requests: new IdTable() },
    requestId: sequence as RequestId,
    lane,
    rows,
    arrivedMs: sequence,
    deadlineMs,
    expectedMs: null,
    bytes: 100,
    traceparent: '',
    partTraceparent: '',
    span: null,
    body: new Uint8Array(0),
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
  return { request, rowStart: 0, rowCount: rows, queued: true };
}

function sums({ queuedPieces, queuedRows, queuedBytes }: Lane) {
  return { queuedPieces, queuedRows, queuedBytes };
}

function drain(lane: Lane): number[] {
  const order: number[] = [];
  for (let first = lane.first(); first !== undefined; first = lane.first()) {
    lane.takeFirst(first);
    order.push(first.request.sequence);
  }
  return order;
}

function finish(lane: Lane, { request }: Piece): void {
  request.done = true;
  lane.drop(request);
}

describe('lane', () => {
  test('gives requests back in the order they came, with sums that end at zero', () => {
    const lane = newLane();
    for (const sequence of [1, 2, 3]) lane.push(piece(lane, sequence, { rows: sequence }));
    expect(sums(lane)).toEqual({ queuedPieces: 3, queuedRows: 6, queuedBytes: 300 });
    expect(drain(lane)).toEqual([1, 2, 3]);
    expect(sums(lane)).toEqual({ queuedPieces: 0, queuedRows: 0, queuedBytes: 0 });
  });

  test('a request that is done leaves from anywhere', () => {
    const lane = newLane();
    const pieces = [1, 2, 3, 4].map((sequence) => piece(lane, sequence, { rows: sequence }));
    for (const one of pieces) lane.push(one);
    for (const one of pieces) if (one.request.sequence % 2 === 1) finish(lane, one);
    expect(sums(lane)).toEqual({ queuedPieces: 2, queuedRows: 6, queuedBytes: 200 });
    expect(drain(lane)).toEqual([2, 4]);
  });

  test('a cut leaves the rest at the head', () => {
    const lane = newLane();
    const whole = piece(lane, 1, { rows: 5 });
    lane.push(whole);
    const cut = lane.cutFirst(whole, 2);
    expect([cut.rowStart, cut.rowCount, cut.queued]).toEqual([0, 2, false]);
    expect([lane.first()?.rowStart, lane.first()?.rowCount]).toEqual([2, 3]);
    expect(sums(lane)).toEqual({ queuedPieces: 1, queuedRows: 3, queuedBytes: 100 });
    expect(whole.request).toMatchObject({ openPieces: 2, queuedPieces: 1, queuedRows: 3, split: true });
  });

  test('what is put back stands before what came later, in order of arrival', () => {
    const lane = newLane();
    const pieces = [1, 2, 3, 4, 5].map((sequence) => piece(lane, sequence));
    for (const one of pieces) lane.push(one);
    const taken = pieces.slice(0, 4);
    for (const one of taken) lane.takeFirst(one);
    lane.restore(taken.slice(2));
    lane.restore(taken.slice(0, 2).reverse());
    expect(lane.queuedPieces).toBe(5);
    expect(drain(lane)).toEqual([1, 2, 3, 4, 5]);
  });

  test('the earliest deadline is exact once tightened', () => {
    const lane = newLane();
    const pieces = [30, 10, 20].map((deadlineMs, index) => piece(lane, index, { deadlineMs }));
    for (const one of pieces) lane.push(one);
    expect(lane.earliestDeadlineMs).toBe(10);
    if (pieces[1]) finish(lane, pieces[1]);
    expect(lane.tightenDeadline()).toBe(true);
    expect(lane.earliestDeadlineMs).toBe(20);
    expect(lane.tightenDeadline()).toBe(false);
    expect(lane.overdue(20).map(({ sequence }) => sequence)).toEqual([2]);
  });

  test('cancelling far more requests than remain keeps no trace of them', () => {
    const lane = newLane();
    const pieces = Array.from({ length: 5000 }, (_, sequence) => piece(lane, sequence));
    for (const one of pieces) lane.push(one);
    for (const one of pieces.slice(1)) finish(lane, one);
    expect(lane.requests().map(({ sequence }) => sequence)).toEqual([0]);
    expect(drain(lane)).toEqual([0]);
  });

  test('extracting takes all pieces of one request and no other', () => {
    const lane = newLane();
    const split = piece(lane, 1, { rows: 4 });
    lane.push(split);
    lane.push(piece(lane, 2));
    lane.restore([lane.cutFirst(split, 1)]);
    expect(lane.extract(split.request).map(({ rowStart }) => rowStart)).toEqual([0, 1]);
    expect(sums(lane)).toEqual({ queuedPieces: 1, queuedRows: 1, queuedBytes: 100 });
    expect(drain(lane)).toEqual([2]);
  });
});
