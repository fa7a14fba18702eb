import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { utf8 } from '#mesh/bytes.ts';
import type { RoutingUpdate } from '#mesh/control.ts';
import { ServeError } from '#mesh/errors.ts';
import type { StateStore } from '#mesh/state-store.ts';
import { createMemoryStateStore } from '#mesh/state-store-memory.ts';
import type { Source } from '../../extend/sources.ts';
import { startRoutingTable } from '../../services/gateway/routing-table.ts';
import { type ControlPlane, startControlPlane, type TestWorker } from './harness.ts';

const serve = (plane: ControlPlane) => ['--model_name=m', `--model_base_path=${join(plane.folder, 'm')}`];

/** A store that can be away, and that can be replaced by an empty one. */
function flakyStore(first: StateStore) {
  let away = false;
  let target = first;
  const guard =
    <Args extends readonly unknown[], Answer>(pick: (store: StateStore) => (...args: Args) => Promise<Answer>) =>
    async (...args: Args): Promise<Answer> => {
      if (away) throw new ServeError('UNAVAILABLE', 'the store is away');
      return pick(target)(...args);
    };
  const store: StateStore = {
    get: guard((one) => one.get) as StateStore['get'],
    list: guard((one) => one.list) as StateStore['list'],
    put: guard((one) => one.put),
    remove: guard((one) => one.remove),
    acquireLease: guard((one) => one.acquireLease),
    releaseLease: guard((one) => one.releaseLease),
    async [Symbol.asyncDispose]() {},
  };
  return {
    store,
    goAway() {
      away = true;
    },
    comeBack(as: StateStore = target) {
      away = false;
      target = as;
    },
  };
}

describe('leadership', () => {
  test('is with one registry; the other takes over when it leaves, and nothing is forgotten or reloaded', async () => {
    await using plane = await startControlPlane();
    await plane.writeVersion('m', 1);
    const worker = await plane.worker('worker-a');
    const first = await plane.registry(serve(plane));
    await plane.during(first.initialLoad);
    const second = await plane.registry(serve(plane));
    await plane.during(second.initialLoad);
    expect([first.leading, second.leading]).toEqual([true, false]);
    const answered = await plane.ask({ type: 'routing', after: '', maxBytes: 100_000 });
    const before = plane.updates.length;
    await first[Symbol.asyncDispose]();
    await plane.until(() => second.leading);
    await plane.until(() => (worker.assignments.at(-1)?.fencingToken ?? 0) === 2);
    const after = await plane.ask({ type: 'routing', after: '', maxBytes: 100_000 });
    expect(after.type === 'routing' && after.update.fencingToken).toBe(2);
    const models = after.type === 'routing' && after.update.models.map((model) => ({ ...model, unsettled: undefined }));
    expect(models).toEqual(answered.type === 'routing' && answered.update.models);
    await plane.until(() => plane.table.get('m')?.unsettled === undefined);
    for (const { models } of plane.updates.slice(before)) for (const { versions } of models) expect(versions[0]?.routable).toBe(true);
    expect(worker.assignments.every(({ servables }) => servables.every(({ generation }) => generation === 1))).toBe(true);
    await plane.writeVersion('m', 2);
    await plane.until(() => plane.version('m', 2)?.routable);
  });

  test('ends at once when a higher fencing token is heard, and comes back above it', async () => {
    await using plane = await startControlPlane();
    await plane.writeVersion('m', 1);
    const worker = await plane.worker('worker-a');
    const registry = await plane.registry(serve(plane));
    await plane.during(registry.initialLoad);
    const update: RoutingUpdate = { fencingToken: 7, revision: 1, models: [], removed: [] };
    plane.broker.connect().publish(plane.subjects.routing, utf8(JSON.stringify(update)));
    await plane.until(() => plane.logs.includes('this registry no longer leads'));
    await plane.until(() => worker.assignments.at(-1)?.fencingToken === 8);
    expect(registry.leading).toBe(true);
    expect(worker.available()).toEqual(['m@1']);
  });

  test('goes on from memory while the store is away, and writes down afterwards what happened', async () => {
    await using plane = await startControlPlane();
    await plane.writeVersion('m', 1);
    const worker = await plane.worker('worker-a');
    const flaky = flakyStore(plane.store);
    const registry = await plane.registry(serve(plane), { store: flaky.store });
    await plane.during(registry.initialLoad);
    flaky.goAway();
    await plane.clock.advance(10_000);
    expect(registry.leading).toBe(true);
    await plane.writeVersion('m', 2);
    await plane.until(() => plane.version('m', 2)?.routable && worker.available().join() === 'm@2');
    expect(await plane.ask({ type: 'remove-model', name: 'm', expectedRevision: null })).toMatchObject({
      type: 'error',
      code: 'UNAVAILABLE',
    });
    expect(plane.version('m', 2)?.routable).toBe(true);
    flaky.comeBack();
    const before = plane.updates.length;
    const storedVersions = async () => {
      const stored = await plane.store.get<{ versions: readonly { usable: { version: number } }[] }>('registry/model/m');
      return stored?.value.versions.map(({ usable }) => usable.version).join();
    };
    let stored: string | undefined;
    await plane.until(() => {
      void storedVersions().then((versions) => {
        stored = versions;
      });
      return registry.leading && stored === '2';
    });
    for (const { models } of plane.updates.slice(before)) {
      for (const { versions } of models) expect(versions.filter(({ routable }) => routable).map(({ version }) => version)).toEqual([2]);
    }
    expect(plane.version('m', 2)?.routable).toBe(true);
  });

  test('survives a store that comes back empty: workers still listen, and models stay routable', async () => {
    await using plane = await startControlPlane();
    await plane.writeVersion('m', 1);
    const worker = await plane.worker('worker-a');
    const flaky = flakyStore(plane.store);
    // Two leaderships before: the empty store will hand out a lower token than the workers have seen.
    for (let turn = 0; turn < 2; turn++)
      await (await plane.registry(serve(plane), { store: flaky.store }).then(led(plane)))[Symbol.asyncDispose]();
    const registry = await plane.registry(serve(plane), { store: flaky.store });
    await plane.during(registry.initialLoad);
    const seen = worker.assignments.at(-1)?.fencingToken ?? 0;
    flaky.goAway();
    await plane.clock.advance(3000);
    const before = plane.updates.length;
    flaky.comeBack(createMemoryStateStore({ clock: plane.clock }));
    await plane.until(() => registry.leading && (worker.assignments.at(-1)?.fencingToken ?? 0) > seen);
    for (const { models } of plane.updates.slice(before)) for (const { versions } of models) expect(versions[0]?.routable).toBe(true);
    const config = await plane.ask({ type: 'read-config' });
    expect(config.type === 'config' && config.configText).toContain('"m"');
    await plane.writeVersion('m', 2);
    await plane.until(() => plane.version('m', 2)?.routable);
  });

  test('of a registry that finds nothing written down makes nothing unroutable: it asks first what is served', async () => {
    await using plane = await startControlPlane();
    await plane.writeVersion('m', 1);
    const worker = await plane.worker('worker-a');
    const flaky = flakyStore(plane.store);
    await (await plane.registry(serve(plane), { store: flaky.store }).then(led(plane)))[Symbol.asyncDispose]();
    const seen = worker.assignments.at(-1)?.fencingToken ?? 0;
    flaky.comeBack(createMemoryStateStore({ clock: plane.clock }));
    const before = plane.updates.length;
    const heir = await plane.registry(serve(plane), { store: flaky.store });
    await plane.until(() => heir.leading && (worker.assignments.at(-1)?.fencingToken ?? 0) > seen);
    const tables = plane.updates.slice(before);
    expect(tables.length).toBeGreaterThan(0);
    for (const { models } of tables) expect(models.flatMap(({ versions }) => versions.map(({ routable }) => routable))).toEqual([true]);
    expect(worker.available()).toEqual(['m@1']);
  });

  test('of a registry that finds nothing written down leaves what is served as it is while a source has not spoken', async () => {
    await using plane = await startControlPlane();
    await plane.writeVersion('m', 1);
    const worker = await plane.worker('worker-a');
    const flaky = flakyStore(plane.store);
    await (await plane.registry(serve(plane), { store: flaky.store }).then(led(plane)))[Symbol.asyncDispose]();
    const seen = worker.assignments.at(-1)?.fencingToken ?? 0;
    flaky.comeBack(createMemoryStateStore({ clock: plane.clock }));
    const before = plane.updates.length;
    const slow: Source = {
      find: async (signal) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    };
    const heir = await plane.registry(serve(plane), { store: flaky.store, sourceOf: () => slow });
    await plane.until(() => heir.leading && (worker.assignments.at(-1)?.fencingToken ?? 0) > seen);
    await plane.clock.advance(20_000);
    const tables = plane.updates.slice(before);
    expect(tables.length).toBeGreaterThan(0);
    for (const { models } of tables) expect(models.flatMap(({ versions }) => versions.map(({ routable }) => routable))).toEqual([true]);
    expect(worker.available()).toEqual(['m@1']);
  });

  test.each([
    ['says nothing of its signatures', 20_000, (worker: TestWorker) => worker.fallMute()],
    ['is not heard of at first', 3000, (worker: TestWorker) => worker.fallSilent()],
  ])('of a registry that finds nothing written down takes nothing from gateways while a worker %s', async (_, forMs, trouble) => {
    await using plane = await startControlPlane();
    await plane.writeVersion('m', 1);
    const worker = await plane.worker('worker-a');
    const flaky = flakyStore(plane.store);
    await (await plane.registry(serve(plane), { store: flaky.store }).then(led(plane)))[Symbol.asyncDispose]();
    await using gateway = startRoutingTable({
      transport: plane.broker.connect(),
      subjects: plane.subjects,
      clock: plane.clock,
      onTrouble() {},
    });
    const first = await plane.registry(serve(plane), { store: flaky.store }).then(led(plane));
    await plane.until(() => gateway.model('m')?.versions[0]?.routable);
    await first[Symbol.asyncDispose]();
    const lost: unknown[] = [];
    gateway.onChange(() => gateway.model('m')?.versions[0]?.routable || lost.push(gateway.model('m')));
    trouble(worker);
    flaky.comeBack(createMemoryStateStore({ clock: plane.clock }));
    const heir = await plane.registry(serve(plane), { store: flaky.store });
    await plane.until(() => heir.leading);
    await plane.clock.advance(forMs);
    worker.recover();
    await plane.until(() => plane.version('m', 1)?.routable && plane.table.get('m')?.unsettled === undefined);
    expect(lost).toEqual([]);
  });

  test('of a registry that finds nothing written down tells gateways of a version that goes before it tells the worker', async () => {
    await using plane = await startControlPlane();
    const path = await plane.writeVersion('m', 1);
    const worker = await plane.worker('worker-a');
    const flaky = flakyStore(plane.store);
    await (await plane.registry(serve(plane), { store: flaky.store }).then(led(plane)))[Symbol.asyncDispose]();
    await rm(path, { recursive: true });
    flaky.comeBack(createMemoryStateStore({ clock: plane.clock }));
    const toldAtMs: number[] = [];
    plane.broker.connect().subscribe(plane.subjects.routing, () => void toldAtMs.push(plane.clock.now()));
    await plane.registry(serve(plane), { store: flaky.store });
    const [before] = [worker.assignments.length];
    await plane.until(() => worker.assignments.slice(before).some(({ servables }) => servables.length === 0));
    expect(plane.version('m', 1)?.routable ?? false).toBe(false);
    expect(plane.clock.now() - (toldAtMs[0] ?? Number.NaN)).toBeGreaterThanOrEqual(250);
  });

  test('keeps a history of what each version went through', async () => {
    await using plane = await startControlPlane();
    await plane.writeVersion('m', 1);
    await plane.worker('worker-a');
    await plane.registry(serve(plane));
    await plane.until(() => plane.version('m', 1)?.routable);
    await plane.writeVersion('m', 2);
    await plane.until(() => plane.version('m', 1)?.state === 'END');
    await plane.clock.advance(100);
    const history = await plane.store.get<readonly { version: number; state: string }[]>('registry/history/m');
    expect(history?.value.filter(({ version }) => version === 1).map(({ state }) => state)).toEqual([
      'LOADING',
      'AVAILABLE',
      'UNLOADING',
      'END',
    ]);
  });
});

const led = (plane: ControlPlane) => async (registry: Awaited<ReturnType<ControlPlane['registry']>>) => {
  await plane.during(registry.initialLoad);
  return registry;
};
