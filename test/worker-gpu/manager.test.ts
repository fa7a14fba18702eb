import { describe, expect, test } from '@jest/globals';
import { createFakeClock } from '#mesh/clock.ts';
import type { AssignedServable, HeldServable } from '#mesh/control.ts';
import { ServeError } from '#mesh/errors.ts';
import type { MemberId } from '#mesh/ids.ts';
import { createSilentTelemetry } from '#mesh/telemetry.ts';
import { createEvents } from '../../services/worker-gpu/events.ts';
import type { ModelKey } from '../../services/worker-gpu/executor-protocol.ts';
import type { Loader } from '../../services/worker-gpu/loader.ts';
import { createManager, type EntrySnapshot, nextStep } from '../../services/worker-gpu/manager.ts';
import type { Platform } from '../../services/worker-gpu/platforms.ts';
import { createServable, type Servable } from '../../services/worker-gpu/servable.ts';
import { assigned } from './models.ts';

const entry = (more: Partial<EntrySnapshot>): EntrySnapshot => ({
  state: 'AVAILABLE',
  generation: 1,
  loadingGeneration: undefined,
  failedGeneration: undefined,
  ...more,
});

describe('the next step for a servable', () => {
  test.each<[string, number | undefined, EntrySnapshot | undefined, string]>([
    ['wanted and not there', 1, undefined, 'load'],
    ['neither wanted nor there', undefined, undefined, 'none'],
    ['available as wanted', 1, entry({}), 'none'],
    ['available and not wanted', undefined, entry({}), 'unload'],
    ['available in an older generation', 2, entry({}), 'replace'],
    ['available while the wanted generation loads', 2, entry({ loadingGeneration: 2 }), 'none'],
    ['available while an outdated generation loads', 3, entry({ loadingGeneration: 2 }), 'cancel'],
    ['available, and the wanted generation has failed', 2, entry({ failedGeneration: 2 }), 'none'],
    ['available, and the generation before the wanted one has failed', 3, entry({ failedGeneration: 2 }), 'replace'],
    ['loading and not wanted', undefined, entry({ state: 'LOADING', loadingGeneration: 1 }), 'cancel'],
    ['loading as wanted', 1, entry({ state: 'LOADING', loadingGeneration: 1 }), 'none'],
    ['unloading and wanted again', 1, entry({ state: 'UNLOADING' }), 'none'],
    ['failed and still wanted', 1, entry({ state: 'END' }), 'none'],
    ['failed and wanted in a new generation', 2, entry({ state: 'END' }), 'forget'],
    ['failed and not wanted', undefined, entry({ state: 'END' }), 'forget'],
  ])('%s', (_, wanted, there, step) => {
    expect(nextStep(wanted, there)).toBe(step);
  });
});

/** A manager whose loads the test finishes by hand. */
function rig(options: { readonly memoryLimitBytes?: number; readonly concurrentLoads?: number } = {}) {
  const clock = createFakeClock();
  const told: string[] = [];
  const loads: {
    assigned: AssignedServable;
    signal: AbortSignal;
    finish(error?: ServeError): void;
    readonly lose: (error: ServeError) => void;
  }[] = [];
  const closed: number[] = [];
  const servables: Servable[] = [];
  const sizes = new Map<string, number>();
  let keys = 0;
  const loader: Loader = {
    async plan(one) {
      const platform: Platform = { name: 'pretended', runtime: 'data:,', recognises: () => true };
      return { platform, kind: 'shared', instances: 1, estimatedBytes: sizes.get(one.id.name) ?? 10, userCode: null };
    },
    load: (one, plan, { signal, onLost }) =>
      new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
        const finish = (error?: ServeError) => {
          if (error) return reject(error);
          const servable = createServable({
            assigned: one,
            model: ++keys as ModelKey,
            description: { signatures: {}, stateful: false, executionProvider: 'cpu', remarks: [] },
            estimatedBytes: plan.estimatedBytes,
            userCode: plan.userCode,
            batching: one.batching,
            executors: [],
            close: async () => void closed.push(one.generation),
          });
          servables.push(servable);
          resolve(servable);
        };
        loads.push({ assigned: one, signal, finish, lose: onLost });
      }),
  };
  const manager = createManager({
    loader,
    clock,
    events: createEvents(createSilentTelemetry(), 'worker-test' as MemberId),
    memoryLimitBytes: options.memoryLimitBytes ?? 1000,
    concurrentLoads: options.concurrentLoads ?? 2,
    unloadGraceMs: 0,
    onChange: () => {
      const line = manager
        .held()
        .map(({ id, state, generation }) => `${id.name}:${state}${generation > 1 ? generation : ''}`)
        .join(' ');
      if (told.at(-1) !== line) told.push(line);
    },
    onUnusable: () => {},
  });
  let revision = 0;
  const settle = () => clock.advance(0);
  return {
    manager,
    clock,
    told,
    loads,
    closed,
    servables,
    sizes,
    settle,
    async assign(...all: AssignedServable[]) {
      manager.assign({ fencingToken: 1, revision: ++revision, servables: all });
      await settle();
    },
    async finish(index: number, error?: ServeError) {
      loads[index]?.finish(error);
      await settle();
    },
    held: (name: string): HeldServable | undefined => manager.held().find(({ id }) => id.name === name),
  };
}

const BROKEN = new ServeError('DATA_LOSS', 'broken file');

describe('the manager', () => {
  test('tells the states of a servable in the order of its life', async () => {
    const { assign, finish, told, settle } = rig();
    await assign(assigned('a', '/a'));
    await finish(0);
    await assign();
    await settle();
    expect(told).toEqual(['a:START', 'a:LOADING', 'a:AVAILABLE', 'a:UNLOADING', 'a:END', '']);
  });

  test('takes what has changed of its assignment, and only when it has the one that changed', async () => {
    const { assign, finish, held, manager, settle } = rig();
    await assign(assigned('a', '/a'), assigned('b', '/b'));
    await finish(0);
    await finish(1);
    const next = { fencingToken: 1, revision: 9, since: 1, servables: [assigned('c', '/c')], removed: [{ name: 'a', version: 1 }] };
    expect(manager.assign({ ...next, since: 0 })).toBe(false);
    expect(manager.assign({ ...next, fencingToken: 2 })).toBe(false);
    expect(manager.assignmentRevision).toBe(1);
    expect(manager.assign(next)).toBe(true);
    await settle();
    await finish(2);
    expect(manager.held().map(({ id, state }) => `${id.name} ${state}`)).toEqual(['b AVAILABLE', 'c AVAILABLE']);
    expect(manager.assignmentRevision).toBe(9);
    expect(held('a')).toBeUndefined();
  });

  test('tells of what has not changed with the same object', async () => {
    const { assign, finish, held } = rig();
    await assign(assigned('a', '/a'), assigned('b', '/b'));
    await finish(0);
    const before = [held('a'), held('b')];
    expect(held('a')).toBe(before[0]);
    await finish(1);
    expect(held('a')).toBe(before[0]);
    expect(held('b')).not.toBe(before[1]);
  });

  test('the same assignment twice changes nothing', async () => {
    const { assign, finish, loads, told } = rig();
    await assign(assigned('a', '/a'));
    await finish(0);
    const before = told.length;
    await assign(assigned('a', '/a'));
    expect([loads.length, told.length]).toEqual([1, before]);
  });

  test('an assignment of an earlier leadership is ignored', async () => {
    const { manager, held } = rig();
    expect(manager.assign({ fencingToken: 5, revision: 1, servables: [assigned('a', '/a')] })).toBe(true);
    expect(manager.assign({ fencingToken: 4, revision: 9, servables: [] })).toBe(false);
    expect(held('a')).toBeDefined();
    expect(manager.assign({ fencingToken: 6, revision: 1, servables: [] })).toBe(true);
    expect(manager.fencingToken).toBe(6);
  });

  test('a load that fails is tried again after the interval, and ends with the error of the last attempt', async () => {
    const { assign, finish, loads, clock, held } = rig();
    await assign(assigned('a', '/a', { run: { maxLoadRetries: 2, loadRetryIntervalMicros: 5_000_000 } }));
    await finish(0, BROKEN);
    expect([loads.length, held('a')?.state]).toEqual([1, 'LOADING']);
    await clock.advance(5000);
    await finish(1, BROKEN);
    await clock.advance(5000);
    await finish(2, new ServeError('NOT_FOUND', 'gone'));
    expect(held('a')).toMatchObject({ state: 'END', status: { code: 'NOT_FOUND', message: 'gone' }, tokens: 0 });
    await clock.advance(60_000);
    expect(loads).toHaveLength(3);
  });

  test('a negative interval tries again at once', async () => {
    const { assign, finish, loads } = rig();
    await assign(assigned('a', '/a', { run: { maxLoadRetries: 1, loadRetryIntervalMicros: -1 } }));
    await finish(0, BROKEN);
    expect(loads).toHaveLength(2);
  });

  test('taking the assignment away stops the attempts', async () => {
    const { assign, finish, loads, clock, manager } = rig();
    await assign(assigned('a', '/a', { run: { maxLoadRetries: 5, loadRetryIntervalMicros: 1_000_000 } }));
    await finish(0, BROKEN);
    await assign();
    await clock.advance(10_000);
    expect([loads.length, manager.held().length]).toEqual([1, 0]);
  });

  test('taking the assignment away during a load cancels it', async () => {
    const { assign, loads, manager } = rig();
    await assign(assigned('a', '/a'));
    await assign();
    expect(loads[0]?.signal.aborted).toBe(true);
    expect(manager.held()).toEqual([]);
  });

  test('a slow load does not hold up others beyond the bound', async () => {
    const { assign, finish, loads, held } = rig({ concurrentLoads: 2 });
    await assign(assigned('slow', '/s'), assigned('b', '/b'), assigned('c', '/c'));
    expect(loads.map((load) => load.assigned.id.name)).toEqual(['slow', 'b']);
    expect(held('c')?.state).toBe('START');
    await finish(1);
    expect(held('b')?.state).toBe('AVAILABLE');
    expect(loads.map((load) => load.assigned.id.name)).toEqual(['slow', 'b', 'c']);
  });

  test('a failed load leaves its place to the next while it waits to be tried again', async () => {
    const { assign, finish, loads } = rig({ concurrentLoads: 1 });
    await assign(assigned('a', '/a', { run: { maxLoadRetries: 5, loadRetryIntervalMicros: 1e9 } }), assigned('b', '/b'));
    await finish(0, BROKEN);
    expect(loads.map((load) => load.assigned.id.name)).toEqual(['a', 'b']);
  });

  test('a new generation is loaded beside the old, which goes once nothing uses it', async () => {
    const { assign, finish, held, closed, servables, settle, manager, told } = rig();
    await assign(assigned('a', '/a'));
    await finish(0);
    const pin = servables[0]?.pin();
    await assign(assigned('a', '/a', { generation: 2 }));
    expect(held('a')).toMatchObject({ state: 'AVAILABLE', generation: 1 });
    await finish(1);
    expect(held('a')).toMatchObject({ state: 'AVAILABLE', generation: 2 });
    expect(manager.find({ name: 'a', version: 1 })).toBe(servables[1]);
    expect(closed).toEqual([]);
    pin?.[Symbol.dispose]();
    await settle();
    expect(closed).toEqual([1]);
    expect(told).toEqual(['a:START', 'a:LOADING', 'a:AVAILABLE', 'a:AVAILABLE2']);
  });

  test('a new generation that fails leaves the old serving, with the reason in its status', async () => {
    const { assign, finish, held, loads } = rig();
    await assign(assigned('a', '/a'));
    await finish(0);
    await assign(assigned('a', '/a', { generation: 2 }));
    await finish(1, BROKEN);
    expect(held('a')).toMatchObject({ state: 'AVAILABLE', generation: 1, status: { code: 'DATA_LOSS', message: 'broken file' } });
    expect(loads).toHaveLength(2);
  });

  test('a load that no other attempt can mend is not tried again', async () => {
    const { assign, finish, held, loads } = rig();
    await assign(assigned('a', '/a', { run: { maxLoadRetries: 5 } }));
    await finish(0, new ServeError('UNIMPLEMENTED', 'op Odd of node n is not supported'));
    expect(held('a')).toMatchObject({ state: 'END', status: { code: 'UNIMPLEMENTED', message: 'op Odd of node n is not supported' } });
    expect(loads).toHaveLength(1);
  });

  test('a servable is unloaded only when no batch uses it', async () => {
    const { assign, finish, held, closed, servables, settle } = rig();
    await assign(assigned('a', '/a'));
    await finish(0);
    const pin = servables[0]?.pin();
    await assign();
    expect(held('a')).toMatchObject({ state: 'UNLOADING', tokens: 0 });
    expect(closed).toEqual([]);
    pin?.[Symbol.dispose]();
    await settle();
    expect(closed).toEqual([1]);
  });

  test('a servable assigned again while it unloads is loaded again afterwards', async () => {
    const { assign, finish, held, servables, loads, settle } = rig();
    await assign(assigned('a', '/a'));
    await finish(0);
    const pin = servables[0]?.pin();
    await assign();
    await assign(assigned('a', '/a'));
    expect([held('a')?.state, loads.length]).toEqual(['UNLOADING', 1]);
    pin?.[Symbol.dispose]();
    await settle();
    await finish(1);
    expect(held('a')?.state).toBe('AVAILABLE');
  });

  test('a servable beyond the memory limit is refused with numbers, once, and does not stop others', async () => {
    const { assign, finish, held, sizes, loads } = rig({ memoryLimitBytes: 100 });
    sizes.set('a', 60).set('big', 50);
    await assign(assigned('a', '/a'), assigned('big', '/big', { run: { maxLoadRetries: 5 } }), assigned('c', '/c'));
    expect(held('big')?.status).toEqual({
      code: 'RESOURCE_EXHAUSTED',
      message:
        "Insufficient resources to load servable {name: big version: 1}: it needs an estimated 50 bytes for 1 instance(s), 40 of the worker's 100 are free",
    });
    await finish(0);
    await finish(1);
    expect([held('a')?.state, held('c')?.state, loads.length]).toEqual(['AVAILABLE', 'AVAILABLE', 2]);
  });

  test('a load waits for the memory of a servable that is unloading', async () => {
    const { assign, finish, held, sizes, servables, loads, settle } = rig({ memoryLimitBytes: 100 });
    sizes.set('a', 60).set('b', 60);
    await assign(assigned('a', '/a'));
    await finish(0);
    const pin = servables[0]?.pin();
    await assign(assigned('b', '/b'));
    expect([held('b')?.state, loads.length]).toEqual(['LOADING', 1]);
    pin?.[Symbol.dispose]();
    await settle();
    await finish(1);
    expect(held('b')?.state).toBe('AVAILABLE');
  });

  test('a change of batching is adopted without a load', async () => {
    const { assign, finish, held, loads } = rig();
    await assign(assigned('a', '/a'));
    await finish(0);
    const batching = { maxBatchSize: 4 } as AssignedServable['batching'];
    await assign(assigned('a', '/a', { batching }));
    expect([held('a')?.batching, loads.length]).toEqual([batching, 1]);
  });

  test('closing unloads everything', async () => {
    const { assign, finish, manager, closed } = rig();
    await assign(assigned('a', '/a'), assigned('b', '/b'));
    await finish(0);
    await manager.close();
    expect([manager.held().length, closed]).toEqual([0, [1]]);
    expect(manager.assign({ fencingToken: 9, revision: 9, servables: [assigned('c', '/c')] })).toBe(false);
  });
});
