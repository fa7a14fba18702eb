import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { ServableState } from '#mesh/control.ts';
import type { MemberId } from '#mesh/ids.ts';
import type { TransitionPolicy } from '../../services/registry/built-in-policies.ts';
import type { FleetWorker } from '../../services/registry/placement.ts';
import { builtInPolicy, decideFleet, type FleetModel, type FleetVersion } from '../../services/registry/transition-policy.ts';

const AVAILABILITY = builtInPolicy('availability_preserving');
const id = (name: string) => name as MemberId;
const workers = (...names: readonly string[]): FleetWorker[] =>
  names.map((name) => ({ id: id(name), draining: false, memoryLimitBytes: 0 }));

/** A version, with the state it has on each worker it is assigned to: `{ a: 'AVAILABLE' }`. */
function version(
  number: number,
  facts: Partial<FleetVersion> & { readonly on?: Readonly<Record<string, ServableState>> } = {},
): FleetVersion {
  const generation = facts.generation ?? 1;
  const on = Object.entries(facts.on ?? {}) as [MemberId, ServableState][];
  return {
    version: number,
    aspired: true,
    generation,
    bytes: 10,
    routable: false,
    unroutableForMs: Number.POSITIVE_INFINITY,
    callable: true,
    assigned: new Map(on.map(([worker]) => [worker, generation])),
    held: new Map(on.map(([worker, state]) => [worker, { state, generation }])),
    ...facts,
  };
}

const model = (versions: readonly FleetVersion[], facts: Partial<FleetModel> = {}): FleetModel => ({
  name: 'm',
  replicas: 0,
  undecided: false,
  awaiting: false,
  versions,
  ...facts,
});

/** The decision in short: `2:a,b!` is version 2 on a and b, routable. */
function decide(one: FleetModel, fleet: readonly FleetWorker[], policy: TransitionPolicy = 'availability_preserving'): string {
  const decision = decideFleet([one], fleet, builtInPolicy(policy)).get('m');
  return [...(decision?.values() ?? [])]
    .sort((a, b) => b.version - a.version)
    .map((d) => `${d.version}:${[...d.workers.keys()].sort().join(',')}${d.routable ? '!' : ''}`)
    .join(' ');
}

const old = (on: Readonly<Record<string, ServableState>>, facts: Partial<FleetVersion> = {}) =>
  version(1, { aspired: false, routable: true, on, ...facts });

describe('availability_preserving', () => {
  const AB = workers('a', 'b');
  test.each<[string, readonly FleetVersion[], string]>([
    ['loads a new model everywhere', [version(1)], '1:a,b'],
    ['makes the first available version routable on the first worker', [version(1, { on: { a: 'AVAILABLE', b: 'LOADING' } })], '1:a,b!'],
    [
      'does not route to a version whose signatures are unknown',
      [version(1, { callable: false, on: { a: 'AVAILABLE', b: 'AVAILABLE' } })],
      '1:a,b',
    ],
    ['loads the new beside the old', [version(2), old({ a: 'AVAILABLE', b: 'AVAILABLE' })], '2:a,b 1:a,b!'],
    [
      'keeps the old while the new is on one worker only',
      [version(2, { on: { a: 'AVAILABLE', b: 'LOADING' } }), old({ a: 'AVAILABLE', b: 'AVAILABLE' })],
      '2:a,b 1:a,b!',
    ],
    [
      'routes to the new once it is on all, before the old goes',
      [version(2, { on: { a: 'AVAILABLE', b: 'AVAILABLE' } }), old({ a: 'AVAILABLE', b: 'AVAILABLE' })],
      '2:a,b! 1:a,b!',
    ],
    [
      'unroutes the old once the new is routable',
      [version(2, { routable: true, on: { a: 'AVAILABLE', b: 'AVAILABLE' } }), old({ a: 'AVAILABLE', b: 'AVAILABLE' })],
      '2:a,b! 1:a,b',
    ],
    [
      'keeps the old when the new one lost a worker, although it is routable',
      [version(2, { routable: true, on: { a: 'AVAILABLE' } }), old({ a: 'AVAILABLE', b: 'AVAILABLE' })],
      '2:a,b! 1:a,b!',
    ],
    [
      'leaves the old on its workers until gateways have heard',
      [
        version(2, { routable: true, on: { a: 'AVAILABLE', b: 'AVAILABLE' } }),
        old({ a: 'AVAILABLE' }, { routable: false, unroutableForMs: 249 }),
      ],
      '2:a,b! 1:a',
    ],
    [
      'unloads the old after that',
      [
        version(2, { routable: true, on: { a: 'AVAILABLE', b: 'AVAILABLE' } }),
        old({ a: 'AVAILABLE' }, { routable: false, unroutableForMs: 250 }),
      ],
      '2:a,b! 1:',
    ],
    [
      'keeps the old when the new failed everywhere',
      [version(2, { on: { a: 'END', b: 'END' } }), old({ a: 'AVAILABLE', b: 'AVAILABLE' })],
      '2:a,b 1:a,b!',
    ],
    ['unroutes a version that nobody could load', [version(1, { routable: true, on: { a: 'END', b: 'END' } })], '1:a,b'],
    ['keeps a version routable whose workers died', [version(1, { routable: true })], '1:a,b!'],
    ['gives up an unaspired version that never came up', [version(2), old({ a: 'LOADING' }, { routable: false })], '2:a,b 1:'],
    ['lets everything go when nothing is aspired', [old({ a: 'AVAILABLE', b: 'AVAILABLE' })], '1:a,b'],
    [
      'keeps only the newest of two unaspired versions',
      [
        version(3),
        version(2, { aspired: false, routable: true, on: { a: 'AVAILABLE', b: 'AVAILABLE' } }),
        old({ a: 'AVAILABLE', b: 'AVAILABLE' }),
      ],
      '3:a,b 2:a,b! 1:a,b',
    ],
  ])('%s', (_, versions, wanted) => {
    expect(decide(model(versions), AB)).toBe(wanted);
  });

  test('leaves everything as it is while the source has not spoken', () => {
    expect(decide(model([old({ a: 'AVAILABLE' })], { undecided: true }), AB)).toBe('1:a!');
  });

  test('gives up nothing for a version that cannot be loaded yet', () => {
    expect(decide(model([old({ a: 'AVAILABLE', b: 'AVAILABLE' })], { awaiting: true }), AB)).toBe('1:a,b!');
  });

  test('moves to replaced files one worker at a time, and stops where they fail', () => {
    const held = new Map(['a', 'b'].map((name) => [id(name), { state: 'AVAILABLE' as const, generation: 1 }]));
    const assigned = (a: number, b: number) =>
      new Map([
        [id('a'), a],
        [id('b'), b],
      ]);
    const generations = (facts: Partial<FleetVersion>) => {
      const decision = decideFleet([model([version(1, { generation: 2, routable: true, held, ...facts })])], AB, AVAILABILITY);
      return [...(decision.get('m')?.get(1)?.workers ?? [])].sort().map(([, generation]) => generation);
    };
    expect(generations({ assigned: assigned(1, 1) })).toEqual([2, 1]);
    expect(generations({ assigned: assigned(2, 1) })).toEqual([2, 1]);
    const arrived = new Map(held).set(id('a'), { state: 'AVAILABLE', generation: 2 });
    expect(generations({ assigned: assigned(2, 1), held: arrived })).toEqual([2, 2]);
  });

  test('gives a draining worker nothing new and takes from it what others have', () => {
    const fleet: FleetWorker[] = [{ id: id('a'), draining: true, memoryLimitBytes: 0 }, ...workers('b')];
    expect(decide(model([version(1)]), fleet)).toBe('1:b');
    expect(decide(model([version(1, { routable: true, on: { a: 'AVAILABLE', b: 'LOADING' } })]), fleet)).toBe('1:a,b!');
    expect(decide(model([version(1, { routable: true, on: { a: 'AVAILABLE', b: 'AVAILABLE' } })]), fleet)).toBe('1:b!');
  });

  test('never places more than fits, and says what is missing', () => {
    const fleet: FleetWorker[] = [{ id: id('a'), draining: false, memoryLimitBytes: 15 }];
    const decision = decideFleet([model([version(2), version(1)])], fleet, AVAILABILITY).get('m');
    expect([...(decision?.get(2)?.workers.keys() ?? [])]).toEqual(['a']);
    expect(decision?.get(1)?.unplaced).toBe(
      'Insufficient resources to load servable {name: m version: 1}: it needs 10 bytes; a has 5 of 15 bytes left',
    );
  });

  test('puts a version that keeps state on one worker unless replicas are configured, and lets its successor go everywhere', () => {
    const fleet = workers('a', 'b', 'c');
    const alone = decide(model([version(1, { stateful: true })]), fleet);
    expect(alone).toMatch(/^1:[abc]$/);
    expect(decide(model([version(1, { stateful: true })], { replicas: 2 }), fleet)).toMatch(/^1:[abc],[abc]$/);
    const [, holder = ''] = /1:(\w)/.exec(alone) ?? [];
    const serving = version(1, { stateful: true, on: { [holder]: 'AVAILABLE' } });
    expect(decide(model([serving]), fleet)).toBe(`1:${holder}!`);
    const before = version(1, { stateful: true, aspired: false, routable: true, on: { [holder]: 'AVAILABLE' } });
    expect(decide(model([version(2), before]), fleet)).toBe(`2:a,b,c 1:${holder}!`);
  });

  test('tries a replica on another worker when one gave up', () => {
    const fleet = workers('a', 'b', 'c');
    const first = decide(model([version(1)], { replicas: 1 }), fleet);
    const [, winner = ''] = /1:(\w)/.exec(first) ?? [];
    const then = decide(model([version(1, { on: { [winner]: 'END' } })], { replicas: 1 }), fleet);
    expect(then.split(':')[1]?.split(',').length).toBe(2);
    expect(then).toContain(winner);
  });
});

describe('resource_preserving', () => {
  test.each<[string, readonly FleetVersion[], string]>([
    ['unroutes the old first and loads nothing beside it', [version(2), old({ a: 'AVAILABLE' })], '2: 1:a'],
    ['waits until the old is unloaded', [version(2), old({ a: 'UNLOADING' }, { assigned: new Map(), routable: false })], '2: 1:'],
    ['then loads the new', [version(2)], '2:a'],
  ])('%s', (_, versions, wanted) => {
    expect(decide(model(versions), workers('a'), 'resource_preserving')).toBe(wanted);
  });
});

/** A fleet that does what it is told, at its own pace, driven by a random schedule. */
function simulate(script: { readonly steps: readonly Step[]; readonly replicas: number; readonly policy: TransitionPolicy }) {
  let fleet: FleetWorker[] = workers('a', 'b', 'c');
  let aspired = new Set([1]);
  const broken = new Set<number>();
  const held = new Map<string, Map<MemberId, ServableState>>();
  let records = new Map<number, { assigned: Map<MemberId, number>; routable: boolean; unroutedAt: number | null }>();
  let now = 0;
  const heldOf = (number: number) => held.get(String(number)) ?? new Map<MemberId, ServableState>();

  function decideOnce(): string {
    for (const number of aspired) if (!records.has(number)) records.set(number, { assigned: new Map(), routable: false, unroutedAt: null });
    const live = new Set(fleet.map((worker) => worker.id));
    const versions = [...records].map(([number, record]) => {
      for (const worker of record.assigned.keys()) if (!live.has(worker)) record.assigned.delete(worker);
      return version(number, {
        aspired: aspired.has(number),
        routable: record.routable,
        unroutableForMs: record.unroutedAt === null ? Number.POSITIVE_INFINITY : now - record.unroutedAt,
        assigned: record.assigned,
        held: new Map([...heldOf(number)].map(([worker, state]) => [worker, { state, generation: 1 }])),
      });
    });
    const decisions =
      decideFleet([model(versions, { replicas: script.replicas })], fleet, builtInPolicy(script.policy)).get('m') ?? new Map();
    const next = new Map(records);
    for (const [number, record] of records) {
      const decision = decisions.get(number);
      if (!decision) continue;
      if (record.routable && !decision.routable) record.unroutedAt = now;
      if (decision.routable) record.unroutedAt = null;
      record.routable = decision.routable;
      record.assigned = new Map(decision.workers);
      if (decision.leaving && record.assigned.size === 0 && heldOf(number).size === 0) next.delete(number);
    }
    records = next;
    return JSON.stringify([...records].map(([number, { assigned, routable }]) => [number, [...assigned].sort(), routable]));
  }

  /** Every worker moves one servable one step towards its assignment. */
  function work(only?: MemberId): void {
    for (const { id: worker } of fleet) {
      if (only !== undefined && only !== worker) continue;
      for (const number of new Set([...records.keys(), ...[...held.keys()].map(Number)])) {
        const states = heldOf(number);
        held.set(String(number), states);
        const wanted = records.get(number)?.assigned.has(worker) ?? false;
        const state = states.get(worker);
        if (wanted && state === undefined) states.set(worker, 'LOADING');
        else if (wanted && state === 'LOADING') states.set(worker, broken.has(number) ? 'END' : 'AVAILABLE');
        else if (!wanted && state === 'AVAILABLE') states.set(worker, 'UNLOADING');
        else if (!wanted && state !== undefined) states.delete(worker);
      }
    }
  }

  return {
    get records() {
      return records;
    },
    get aspired() {
      return aspired;
    },
    broken,
    serving: () =>
      [...records].some(
        ([number, record]) => record.routable && [...record.assigned.keys()].some((worker) => heldOf(number).get(worker) === 'AVAILABLE'),
      ),
    decideOnce,
    work,
    pass(ms: number) {
      now += ms;
    },
    apply(step: Step) {
      if (step.type === 'aspire') aspired = new Set([step.version]);
      if (step.type === 'break') broken.add(step.version);
      if (step.type === 'leave' && fleet.length > 1) {
        const [gone] = fleet;
        fleet = fleet.slice(1);
        for (const states of held.values()) if (gone) states.delete(gone.id);
      }
      if (step.type === 'join')
        fleet = [...fleet, ...workers(`j${step.name}`)].filter(
          (one, index, all) => all.findIndex((other) => other.id === one.id) === index,
        );
    },
    settle() {
      let last = '';
      for (let round = 0; round < 60; round++) {
        const decision = decideOnce();
        for (let steps = 0; steps < 3; steps++) work();
        now += 300;
        if (decision === last && round > 5) return decision;
        last = decision;
      }
      return null;
    },
  };
}

type Step =
  | { readonly type: 'aspire'; readonly version: number }
  | { readonly type: 'break'; readonly version: number }
  | { readonly type: 'leave' }
  | { readonly type: 'join'; readonly name: number }
  | { readonly type: 'turn' }
  | { readonly type: 'work'; readonly worker: string };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ type: fc.constant('aspire' as const), version: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('join' as const), name: fc.integer({ min: 0, max: 2 }) }) },
  { weight: 6, arbitrary: fc.constant({ type: 'turn' as const }) },
  { weight: 8, arbitrary: fc.record({ type: fc.constant('work' as const), worker: fc.constantFrom('a', 'b', 'c', 'j0', 'j1', 'j2') }) },
);
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: step },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('break' as const), version: fc.integer({ min: 2, max: 6 }) }) },
  { weight: 1, arbitrary: fc.constant({ type: 'leave' as const }) },
);

describe('over any schedule', () => {
  test('availability_preserving always has an available, routable version while workers live', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(step, fc.record({ type: fc.constant('break' as const), version: fc.integer({ min: 2, max: 6 }) })), {
          maxLength: 60,
        }),
        fc.integer({ min: 0, max: 3 }),
        (steps, replicas) => {
          const fleet = simulate({ steps, replicas, policy: 'availability_preserving' });
          fleet.settle();
          expect(fleet.serving()).toBe(true);
          for (const one of steps) {
            fleet.apply(one);
            if (one.type === 'turn') fleet.decideOnce();
            if (one.type === 'work') fleet.work(id(one.worker));
            fleet.pass(100);
            expect(fleet.serving()).toBe(true);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  test('decisions converge under both policies: what is aspired and can be loaded serves, everything else is gone', () => {
    fc.assert(
      fc.property(
        fc.array(anyStep, { maxLength: 40 }),
        fc.integer({ min: 0, max: 3 }),
        fc.constantFrom<TransitionPolicy>('availability_preserving', 'resource_preserving'),
        (steps, replicas, policy) => {
          const fleet = simulate({ steps, replicas, policy });
          fleet.settle();
          for (const one of steps) {
            fleet.apply(one);
            if (one.type === 'turn') fleet.decideOnce();
            if (one.type === 'work') fleet.work(id(one.worker));
            fleet.pass(100);
          }
          const end = fleet.settle();
          expect(end).not.toBeNull();
          const [target] = fleet.aspired;
          if (target !== undefined && !fleet.broken.has(target)) {
            expect([...fleet.records.keys()]).toEqual([target]);
            expect(fleet.records.get(target)?.routable).toBe(true);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});
