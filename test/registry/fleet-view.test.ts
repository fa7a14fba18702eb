import { expect, test } from '@jest/globals';
import { type HeldServable, OK_STATUS, type WorkerDetail } from '#mesh/control.ts';
import { type MemberId, newMemberId } from '#mesh/ids.ts';
import type { Member } from '#mesh/presence.ts';
import { createFleetView } from '../../services/registry/fleet-view.ts';
import { builtInPolicy, decideFleet, type FleetModel } from '../../services/registry/transition-policy.ts';

const A = newMemberId('worker');
const B = newMemberId('worker');

function held(name: string, version: number, more: Partial<HeldServable> = {}): HeldServable {
  const state = { generation: 1, state: 'AVAILABLE', status: OK_STATUS, tokens: 2, estimatedBytes: 10, batching: null } as const;
  return { id: { name, version }, stateful: false, ...state, ...more };
}

function worker(id: MemberId, servables: readonly HeldServable[]): Member<WorkerDetail> {
  return { kind: 'worker', id, detail: { fencingToken: 1, assignmentRevision: 1, memoryLimitBytes: 0, servables, draining: false } };
}

test('what workers hold is found by model, version and worker', () => {
  const view = createFleetView();
  const seen = view.see([worker(A, [held('m', 1), held('m', 2), held('n', 1)]), worker(B, [held('m', 1)])]);
  expect([...seen.keys()]).toEqual(['m', 'n']);
  expect([...(seen.get('m')?.get(1)?.keys() ?? [])]).toEqual([A, B]);
  expect([...(seen.get('m')?.get(2)?.keys() ?? [])]).toEqual([A]);
});

test('a model of which a worker tells the same again is the same object, any other is not', () => {
  const view = createFleetView();
  const before = new Map(
    view.see([worker(A, [held('still', 1), held('moving', 1), held('leaving', 1), held('losing', 1), held('losing', 2)])]),
  );
  const after = view.see([worker(A, [held('still', 1), held('moving', 1, { tokens: 3 }), held('losing', 1), held('coming', 1)])]);
  expect(after.get('still')).toBe(before.get('still'));
  expect(after.get('moving')?.get(1)?.get(A)?.tokens).toBe(3);
  expect(after.get('moving')).not.toBe(before.get('moving'));
  expect([...(after.get('losing')?.keys() ?? [])]).toEqual([1]);
  expect(after.has('leaving')).toBe(false);
  expect(after.has('coming')).toBe(true);
});

test.each<[string, Partial<HeldServable>]>([
  ['generation', { generation: 2 }],
  ['state', { state: 'UNLOADING' }],
  ['status', { status: { code: 'INTERNAL', message: 'broken' } }],
  ['estimate', { estimatedBytes: 11 }],
  ['statefulness', { stateful: true }],
])('another %s is news', (_, more) => {
  const view = createFleetView();
  const before = view.see([worker(A, [held('m', 1)])]).get('m');
  expect(view.see([worker(A, [held('m', 1, more)])]).get('m')).not.toBe(before);
});

test('a worker that goes takes along what it held', () => {
  const view = createFleetView();
  view.see([worker(A, [held('m', 1)]), worker(B, [held('m', 1), held('n', 1)])]);
  const after = view.see([worker(A, [held('m', 1)])]);
  expect([...(after.get('m')?.get(1)?.keys() ?? [])]).toEqual([A]);
  expect(after.has('n')).toBe(false);
});

test('a model at rest is not decided about, and its memory is counted', () => {
  const model = (name: string, facts: Partial<FleetModel['versions'][number]>): FleetModel => ({
    name,
    replicas: 0,
    undecided: false,
    awaiting: false,
    versions: [
      {
        version: 1,
        aspired: true,
        generation: 1,
        bytes: 60,
        routable: false,
        unroutableForMs: 0,
        callable: false,
        stateful: false,
        assigned: new Map(),
        held: new Map(),
        ...facts,
      },
    ],
  });
  const resting = model('resting', {
    routable: true,
    callable: true,
    assigned: new Map([[A, 1]]),
    held: new Map([[A, held('resting', 1)]]),
  });
  const workers = [{ id: A, draining: false, memoryLimitBytes: 100 }];
  const policy = builtInPolicy('availability_preserving');
  const decision = decideFleet([resting, model('fresh', {})], workers, policy, new Set(['resting']));
  expect([...decision.keys()]).toEqual(['fresh']);
  expect(decision.get('fresh')?.get(1)?.unplaced).toMatch(/has 40 of 100 bytes left/);
});
