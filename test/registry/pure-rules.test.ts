import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fromUtf8 } from '#mesh/bytes.ts';
import { createFakeClock } from '#mesh/clock.ts';
import { configDocument, parseSettings } from '#mesh/config.ts';
import type { HeldServable, RoutedModel, RoutingUpdate, ServableState } from '#mesh/control.ts';
import { OK_STATUS } from '#mesh/control.ts';
import type { MemberId } from '#mesh/ids.ts';
import { createSubjects } from '#mesh/subjects.ts';
import { createMemoryBroker } from '#mesh/transport-memory.ts';
import type { VersionPolicy } from '#proto/model-server-config.ts';
import { createPlanStore } from '../../savedmodel/cache/plan-store.ts';
import { type CheckModelPayload, createCheckModel } from '../../services/registry/check-model.ts';
import { checkRegistrySettings, REGISTRY_SETTINGS } from '../../services/registry/config.ts';
import { fingerprintOf, listFolder } from '../../services/registry/fingerprint.ts';
import { bindLabels } from '../../services/registry/labels.ts';
import { outlineOnnxFile } from '../../services/registry/onnx-file.ts';
import { MemoryLedger, place, rankWorkers } from '../../services/registry/placement.ts';
import { createRoutingPublisher } from '../../services/registry/routing-publisher.ts';
import { readServingOptions } from '../../services/registry/serving-options.ts';
import { createFileSystemSource } from '../../services/registry/source.ts';
import { planVersions, type Verdict } from '../../services/registry/version-policy.ts';
import { aggregateState } from '../../services/registry/version-record.ts';
import { onnxBytes } from './harness.ts';

/** A folder that is gone after the test. */
async function temporaryFolder() {
  const path = await mkdtemp(join(tmpdir(), 'headrace-rules-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

describe('version policy', () => {
  const latest = (numVersions: number): VersionPolicy => ({ type: 'latest', numVersions });
  test.each<[string, VersionPolicy, Readonly<Record<number, Verdict>>, readonly number[], readonly number[], boolean]>([
    ['looks at the highest version alone', latest(1), {}, [3], [], true],
    ['aspires to it once it is good', latest(1), { 3: 'good' }, [3], [3], false],
    ['stays with the one before while it is pending', latest(1), { 3: 'pending', 2: 'good' }, [3, 2], [2], true],
    ['falls back past a bad one', latest(1), { 3: 'bad' }, [3, 2], [], true],
    ['says that the bad one is still wanted', latest(1), { 3: 'bad', 2: 'good' }, [3, 2], [2], true],
    ['takes the highest two', latest(2), { 3: 'good', 2: 'good', 1: 'good' }, [3, 2], [3, 2], false],
    ['takes all', { type: 'all' }, { 3: 'good', 2: 'pending', 1: 'good' }, [3, 2, 1], [3, 1], true],
    ['takes those named, as far as they exist', { type: 'specific', versions: [1, 7] }, { 1: 'good', 3: 'good' }, [1], [1], false],
  ])('%s', (_, policy, verdicts, look, aspired, awaiting) => {
    expect(planVersions([1, 2, 3], policy, (version) => verdicts[version] ?? 'unknown')).toEqual({ look, aspired, awaiting });
  });
});

describe('labels', () => {
  const available = (version: number) => version === 1;
  test.each<[string, Readonly<Record<string, number>>, Readonly<Record<string, number>>, boolean, Readonly<Record<string, number>>]>([
    ['bind to an available version', { a: 1 }, {}, false, { a: 1 }],
    ['wait for one that is not', { a: 2 }, {}, false, {}],
    ['keep the old binding meanwhile', { a: 2 }, { a: 1 }, false, { a: 1 }],
    ['may share a version', { a: 1, b: 1 }, { a: 9 }, false, { a: 1, b: 1 }],
    ['go when they are no longer configured', {}, { a: 1 }, false, {}],
    ['bind to an unavailable version when that is allowed and they are new', { a: 2 }, {}, true, { a: 2 }],
    ['do not move to an unavailable version even then', { a: 2 }, { a: 1 }, true, { a: 1 }],
    ['may be named like a property of objects', { constructor: 2 }, {}, false, {}],
  ])('%s', (_, wanted, bound, allowed, result) => {
    expect(bindLabels(wanted, bound, { available }, allowed)).toEqual(result);
  });
});

describe('placement', () => {
  const names = fc.uniqueArray(fc.stringMatching(/^[a-z]{1,6}$/), { minLength: 1, maxLength: 12 });
  const request = (key: string, replicas: number) => ({
    key,
    replicas,
    bytes: 1,
    assigned: new Set<MemberId>(),
    failed: new Set<MemberId>(),
  });

  test('moves only what a lost worker held', () => {
    fc.assert(
      fc.property(names, fc.integer({ min: 1, max: 4 }), fc.string(), (all, replicas, key) => {
        const workers = all as MemberId[];
        const ledger = new MemoryLedger(workers.map((id) => ({ id, draining: false, memoryLimitBytes: 0 })));
        const before = place(request(key, replicas), workers, ledger);
        const [lost] = before;
        const after = place(
          request(key, replicas),
          workers.filter((worker) => worker !== lost),
          ledger,
        );
        expect(after.length).toBe(Math.min(replicas, workers.length - 1));
        for (const kept of before.filter((worker) => worker !== lost)) expect(after).toContain(kept);
      }),
    );
  });

  test('ranks every worker once, whatever their order', () => {
    fc.assert(
      fc.property(names, fc.string(), (all, key) => {
        const workers = all as MemberId[];
        const ranked = rankWorkers(key, workers);
        expect([...ranked].sort()).toEqual([...workers].sort());
        expect(rankWorkers(key, [...workers].reverse())).toEqual(ranked);
      }),
    );
  });

  test('passes over workers without room, and keeps what is assigned already', () => {
    const workers = ['a', 'b'] as MemberId[];
    const ledger = new MemoryLedger(workers.map((id) => ({ id, draining: false, memoryLimitBytes: 10 })));
    ledger.add('a' as MemberId, 10);
    expect(place({ ...request('k', 0), bytes: 5 }, workers, ledger)).toEqual(['b']);
    expect(place({ ...request('k', 0), bytes: 5, assigned: new Set(['a' as MemberId]) }, workers, ledger)).toEqual(['a', 'b']);
  });
});

describe('the state that clients are told', () => {
  const held = (...states: readonly (ServableState | 'FAILED')[]): HeldServable[] =>
    states.map((state) => ({
      id: { name: 'm', version: 1 },
      generation: 1,
      state: state === 'FAILED' ? 'END' : state,
      status: state === 'FAILED' ? { code: 'INTERNAL', message: 'no' } : OK_STATUS,
      tokens: 0,
      estimatedBytes: 0,
      batching: null,
      stateful: false,
    }));
  test.each<[string, boolean, boolean, readonly (ServableState | 'FAILED')[], ServableState, string]>([
    ['is START before a worker has it', false, false, [], 'START', ''],
    ['is LOADING while one loads', false, false, ['LOADING', 'FAILED'], 'LOADING', ''],
    ['is LOADING while it is available but not routable', false, false, ['AVAILABLE'], 'LOADING', ''],
    ['is AVAILABLE once it is routable', false, true, ['AVAILABLE', 'FAILED'], 'AVAILABLE', ''],
    ['is END with the reason when all failed', false, false, ['FAILED', 'FAILED'], 'END', 'no'],
    ['is LOADING again when its workers died', false, true, [], 'LOADING', ''],
    ['is UNLOADING as soon as it leaves', true, false, ['AVAILABLE'], 'UNLOADING', ''],
    ['is END once nobody has it', true, false, [], 'END', ''],
  ])('%s', (_, leaving, routable, states, state, message) => {
    const found = aggregateState({ aspired: !leaving, leaving, routable, unplaced: null }, held(...states));
    expect([found.state, found.status.message]).toEqual([state, message]);
  });
});

describe('the file-system source', () => {
  test('finds folders whose names are whole numbers, and nothing else', async () => {
    await using folder = await temporaryFolder();
    for (const name of ['1', '00017', 'latest', '-3', '1.5', '99999999999999999999']) await mkdir(join(folder.path, name));
    await mkdir(join(folder.path, '001'));
    await writeFile(join(folder.path, '4'), 'a file');
    await symlink(join(folder.path, 'latest'), join(folder.path, '5'));
    const found = await createFileSystemSource('m', folder.path).find(new AbortController().signal);
    expect(found.map(({ version, path }) => [version, path.slice(folder.path.length + 1)]).sort()).toEqual([
      [1, '1'],
      [17, '00017'],
      [5, '5'],
    ]);
  });
});

describe('a fingerprint', () => {
  test('changes with names, sizes and times of files at any depth, and with nothing else', async () => {
    await using folder = await temporaryFolder();
    await mkdir(join(folder.path, 'variables'));
    const look = async () => fingerprintOf(await listFolder(folder.path));
    const file = join(folder.path, 'variables', 'data');
    await writeFile(file, 'one');
    const first = await look();
    expect(await look()).toBe(first);
    await writeFile(file, 'three');
    const second = await look();
    expect(second).not.toBe(first);
    await writeFile(join(folder.path, 'more'), '');
    expect(await look()).not.toBe(second);
  });
});

describe('the outline of an ONNX file', () => {
  test('refuses every truncation of a file, and anything that is not one', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'model.onnx');
    const whole = onnxBytes('g'.repeat(300));
    await writeFile(path, whole);
    expect(await outlineOnnxFile(path)).toEqual({ irVersion: 8, graphBytes: 300 });
    for (const bytes of [0, 1, 2, 3, 4, 5, 100, whole.byteLength - 1]) {
      await writeFile(path, whole.subarray(0, bytes));
      await expect(outlineOnnxFile(path)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringContaining(path) });
    }
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 64 }), async (bytes) => {
        await writeFile(path, bytes);
        await outlineOnnxFile(path).catch((error) => expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' }));
      }),
      { numRuns: 100 },
    );
  });
});

describe('the check of a version folder', () => {
  async function check(path: string, more: Partial<CheckModelPayload> = {}) {
    await using cache = await temporaryFolder();
    using plans = createPlanStore({ cacheFolder: cache.path, cacheMaxBytes: 0, clock: createFakeClock(), onImported: () => {} });
    const fingerprint = fingerprintOf(await listFolder(path));
    const payload: CheckModelPayload = { name: 'm', version: 1, path, platform: '', tags: ['serve'], fingerprint, ...more };
    return createCheckModel(plans)({ id: 'x', payload, signal: new AbortController().signal, progress: () => {} });
  }

  test('finds out platform, size and a digest that does not depend on the place', async () => {
    await using one = await temporaryFolder();
    await using two = await temporaryFolder();
    for (const { path } of [one, two]) await writeFile(join(path, 'model.onnx'), onnxBytes('graph'));
    const found = await check(one.path);
    expect(found).toMatchObject({ type: 'good', platform: 'onnx', totalBytes: 9 });
    expect(await check(two.path)).toEqual(found);
  });

  test.each<[string, Readonly<Record<string, string>>, string, string]>([
    ['an empty folder', {}, 'NOT_FOUND', 'Could not find SavedModel .pb or .pbtxt at supplied export directory path: '],
    ['broken signatures', { 'signatures.json': '{' }, 'INVALID_ARGUMENT', 'signatures.json is not JSON'],
    ['signatures without signatures', { 'signatures.json': '{}' }, 'INVALID_ARGUMENT', 'has no object "signatures"'],
    ['a named file that is missing', { 'signatures.json': '{"signatures":{"s":{"model":"other.onnx"}}}' }, 'NOT_FOUND', 'other.onnx'],
  ])('refuses %s with a reason', async (_, files, code, message) => {
    await using folder = await temporaryFolder();
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder.path, name), text);
    expect(await check(folder.path)).toEqual({ type: 'bad', code, message: expect.stringContaining(message) });
  });

  test('notices that the files changed under it', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'model.onnx'), onnxBytes('graph'));
    expect(await check(folder.path, { fingerprint: 'of other files' })).toMatchObject({ code: 'ABORTED' });
  });

  test('leaves a folder whose configuration names a platform of its own to the workers that have it', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'words.csv'), 'a,b');
    expect(await check(folder.path, { platform: 'hashmap' })).toMatchObject({ type: 'good', platform: 'hashmap', imported: null });
  });

  test('says that an ONNX model keeps state when its signatures do', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'signatures.json'), '{"stateful":true,"signatures":{}}');
    expect(await check(folder.path)).toMatchObject({ type: 'good', platform: 'onnx', stateful: true });
  });
});

describe('the routing table', () => {
  test('goes out in messages that fit, and comes back whole page by page', async () => {
    const broker = createMemoryBroker();
    const subjects = createSubjects('t');
    const transport = { ...broker.connect(), maxPayloadBytes: 6000 };
    const updates: RoutingUpdate[] = [];
    transport.subscribe(subjects.routing, (message) => {
      expect(message.data.byteLength).toBeLessThanOrEqual(6000);
      updates.push(JSON.parse(fromUtf8(message.data)));
    });
    const publisher = createRoutingPublisher(transport, subjects, 3);
    const models = new Map<string, RoutedModel>();
    for (let index = 0; index < 40; index++) {
      const name = `model-${String(index).padStart(2, '0')}-${'$&'.repeat(60)}`;
      models.set(name, { name, versions: [], labels: { stable: index } });
    }
    publisher.publish(models);
    publisher.publish(new Map(models));
    await transport.flush();
    expect(updates.length).toBeGreaterThan(2);
    expect(updates.map(({ revision }) => revision)).toEqual(updates.map((_, index) => index + 1));
    expect(updates.flatMap((update) => update.models)).toEqual([...models.values()]);
    const paged: RoutedModel[] = [];
    for (let after: string | null = ''; after !== null; ) {
      const page = publisher.page(after, 6000);
      expect(page.update).toMatchObject({ fencingToken: 3, revision: updates.length });
      paged.push(...page.update.models);
      after = page.next;
    }
    expect(paged).toEqual([...models.values()]);
    const [first] = models.keys();
    models.delete(first ?? '');
    publisher.publish(models);
    await transport.flush();
    expect(updates.at(-1)).toEqual({ fencingToken: 3, revision: updates.length, models: [], removed: [first] });
  });
});

describe('settings', () => {
  const settings = (...args: readonly string[]) => parseSettings(REGISTRY_SETTINGS, { args, env: {} }).values;

  test('without models are refused in TF Serving’s words', () => {
    expect(() => checkRegistrySettings(settings())).toThrow(
      'Both server_options.model_base_path and server_options.model_config_file are empty!',
    );
    expect(() => checkRegistrySettings(settings(), true)).not.toThrow();
  });

  test('with a batching file but no batching are refused in TF Serving’s words', () => {
    expect(() => checkRegistrySettings(settings('--model_base_path=/m', '--batching_parameters_file=/f'))).toThrow(
      'server_options.batching_parameters_file is set without setting server_options.enable_batching to true.',
    );
  });

  test('give batching its defaults, its file, or nothing', async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, 'batching.config');
    await writeFile(file, 'max_batch_size { value: 128 } batch_timeout_micros { value: 500 }');
    expect((await readServingOptions(settings())).batching).toBeNull();
    expect((await readServingOptions(settings('--enable_batching'))).batching).toMatchObject({
      maxBatchSize: 1000,
      threadPoolName: 'model_server_batch_threads',
    });
    const read = await readServingOptions(
      settings('--enable_batching', `--batching_parameters_file=${file}`, '--num_request_iterations_for_warmup=3'),
    );
    expect(read).toMatchObject({
      batching: { maxBatchSize: 128, batchTimeoutMicros: 500 },
      run: { warmupIterations: 3, maxLoadRetries: 5 },
    });
    await expect(readServingOptions(settings('--enable_batching', '--batching_parameters_file=/nowhere'))).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });

  test('have a row each in the document', () => {
    const text = configDocument(REGISTRY_SETTINGS);
    for (const { name } of Object.values(REGISTRY_SETTINGS)) expect(text).toContain(`\`--${name}\``);
  });
});
